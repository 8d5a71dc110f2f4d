"""Artefacts in processes of their own, and the Keras model beside them."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kbig.errors import GateError
from kbig.export.signatures import call_by_name

_WORKER = pathlib.Path(__file__).with_name("worker.py")
_BATCH = 256


class KerasReference:
    """The model itself, compiled once: what artefacts are compared with."""

    def __init__(self, model: keras.Model, samples: dict[str, np.ndarray]):
        self._names = [x.name for x in model.inputs]
        self._samples = {name: samples[name] for name in self._names}
        self._function = tf.function(
            lambda inputs: call_by_name(model, inputs), autograph=False
        )

    def outputs(self) -> dict[str, np.ndarray]:
        """Runs all samples, `{name: float32 (rows, ...)}`."""
        rows = len(self._samples[self._names[0]])
        parts = [self._call(i, i + _BATCH) for i in range(0, rows, _BATCH)]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def time(self, calls: int) -> list[float]:
        """Seconds of single-row calls."""
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self._call(0, 1)
            seconds.append(time.perf_counter() - start)
        return seconds

    def _call(self, start, stop):
        feeds = {
            k: tf.constant(v[start:stop]) for k, v in self._samples.items()
        }
        return {k: v.numpy() for k, v in self._function(feeds).items()}


class ArtefactProcess:
    """One artefact, loaded by its own runtime in its own process."""

    def __init__(self, path: pathlib.Path, threads: int, scratch: pathlib.Path):
        self.path = path
        self._scratch = scratch
        self._log = (scratch / "stderr.txt").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-P", _WORKER, path, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.loaded = self._answer()

    def run(self, samples: dict[str, np.ndarray]) -> dict:
        """Returns `{signature: {output: float array}}`."""
        source, target = self._scratch / "in.npz", self._scratch / "out.npz"
        np.savez(source, **{k: _storable(v) for k, v in samples.items()})
        answer = self._request(run=str(source), out=str(target))
        if answer["untried"]:
            raise GateError(
                f"{self.path.name}: the samples lack the inputs of the "
                f"signatures {', '.join(answer['untried'])}. "
                f"Received: samples with the keys {sorted(samples)}."
            )
        outputs = {signature: {} for signature in answer["ran"]}
        with np.load(target) as arrays:
            for key in arrays.files:
                signature, _, name = key.partition("/")
                outputs[signature][name] = arrays[key]
        return outputs

    def time(self, calls: int) -> list[float]:
        """Seconds of single-row calls."""
        return self._request(time=calls)["seconds"]

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()

    def _request(self, **request):
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._log.seek(0)
        last = self._log.read().strip().rpartition("\n")[2]
        raise GateError(
            f"{self.path.name} does not run: its process ended with status "
            f"{status}: {last or 'no message'}"
        )


@contextlib.contextmanager
def artefact_process(
    path: pathlib.Path, threads: int
) -> Iterator[ArtefactProcess]:
    """Starts the process of an artefact and ends it at the end."""
    with tempfile.TemporaryDirectory(prefix="kbig-") as scratch:
        process = None
        try:
            process = ArtefactProcess(path, threads, pathlib.Path(scratch))
            yield process
        finally:
            if process is not None:
                process.close()


def _storable(array: np.ndarray) -> np.ndarray:
    """Strings as UTF-8 bytes of fixed width: npz without pickle."""
    if array.dtype.kind not in "OU":
        return array
    texts = (x if isinstance(x, bytes) else x.encode() for x in array)
    return np.array(list(texts), dtype=np.bytes_)
