"""Artefacts in processes of their own, and the Keras model beside them."""

import contextlib
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export import processes
from kbig.export.lengths import length_of
from kbig.export.signatures import call_by_name
from kbig.writing import said_error
from kbig.writing import scratch

_WORKER = pathlib.Path(__file__).with_name("worker.py")
_BATCH = 256
_LOG = "stderr.txt"


class KerasReference:
    """The model itself, on the CPU: what artefacts are compared with.

    Args:
        model: a built model in float32.
        samples: arrays by input name, `(rows, ...)`.
    """

    def __init__(self, model: keras.Model, samples: dict[str, np.ndarray]):
        self._names = [x.name for x in model.inputs]
        self._samples = {name: samples[name] for name in self._names}
        self._model = model
        self._function = tf.function(self._compute, autograph=False)

    def outputs(self) -> dict[str, np.ndarray]:
        """Runs all samples, `{name: float32 (rows, ...)}`."""
        rows = len(self._samples[self._names[0]])
        try:
            parts = [self._call(i, i + _BATCH) for i in range(0, rows, _BATCH)]
        except (tf.errors.OpError, ValueError) as error:
            shapes = {name: x.shape for name, x in self._samples.items()}
            raise UsageError(
                "Samples must be what the model itself can compute. Received: "
                f"shapes {shapes}, and {type(error).__name__}."
            ) from error
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def time(self, calls: int, rows: int = 1) -> list[float]:
        """Seconds of calls."""
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self._call(0, rows)
            seconds.append(time.perf_counter() - start)
        return seconds

    def _call(self, start, stop):
        with tf.device("CPU:0"):
            feeds = {
                k: tf.constant(v[start:stop]) for k, v in self._samples.items()
            }
            outputs = self._function(feeds)
        return {k: v.numpy() for k, v in outputs.items()}

    def _compute(self, inputs):
        # A GPU would round to TF32, a hundred times what the gates allow. A
        # function does not inherit the device of the caller.
        with tf.device("CPU:0"):
            return call_by_name(self._model, inputs)


class ArtefactProcess:
    """One artefact, loaded by its own runtime in its own process."""

    def __init__(
        self,
        path: pathlib.Path,
        own_inputs: Iterable[str],
        process: subprocess.Popen,
        scratch: pathlib.Path,
    ):
        self.path = path
        self._process = process
        self._scratch = scratch
        self.loaded = self._answer()
        if not self.loaded["inputs"]:
            raise GateError(f"{path.name} has no signature to call.")
        self._timed = signature_to_time(self.loaded["inputs"], own_inputs)

    def run(self, samples: dict[str, np.ndarray]) -> dict:
        """Returns `{signature: {output: array}}`; strings are bytes."""
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

    def prepare(self, samples: dict[str, np.ndarray]) -> None:
        """Gives the rows that are timed, where not all are run."""
        source = self._scratch / "timed.npz"
        np.savez(source, **{k: _storable(v) for k, v in samples.items()})
        answer = self._request(prepare=str(source), signature=self._timed)
        if answer["missing"]:
            raise UsageError(
                f"Samples must have what {self.path.name} takes: "
                f"{', '.join(answer['missing'])} are missing. Received: the "
                f"keys {sorted(samples)}."
            )

    def time(self, calls: int, rows: int = 1) -> list[float]:
        """Seconds of calls."""
        return self._request(time=calls, rows=rows, signature=self._timed)[
            "seconds"
        ]

    def _request(self, **request):
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        limit = processes.TIME_LIMIT
        start = time.monotonic()
        timer = threading.Timer(limit, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if line:
            return json.loads(line)
        status = self._process.wait()
        if time.monotonic() - start >= limit:
            raise GateError(
                f"{self.path.name} gave no answer within {limit:g} s. Pass "
                "fewer samples."
            )
        log = (self._scratch / _LOG).read_text(errors="replace")
        last = log.strip().rpartition("\n")[2]
        raise said_error(last, self._scratch) or GateError(
            f"{self.path.name} does not run: its process ended with status "
            f"{status}: {last or 'no message'}"
        )


@contextlib.contextmanager
def artefact_process(
    path: pathlib.Path, threads: int, own_inputs: Iterable[str]
) -> Iterator[ArtefactProcess]:
    """Starts the process of an artefact and ends it at the end.

    Args:
        path: a folder of a SavedModel, a .tflite or an .onnx file.
        threads: of its runtime.
        own_inputs: names of the model's inputs; what takes them is timed.

    Returns:
        A context manager of the process, its artefact loaded.

    Raises:
        GateError: the artefact does not load.
        WriteError: there is no room for the rows that are exchanged.
    """
    with (
        scratch() as folder,
        (folder / _LOG).open("w") as log,
        subprocess.Popen(
            [sys.executable, "-P", _WORKER, path, str(threads)],
            env=processes.cpu_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield ArtefactProcess(path, own_inputs, process, folder)
        finally:
            process.kill()
            # What a dead process never read is still to be flushed.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def signature_to_time(
    inputs: Mapping[str, Iterable[str]], own_inputs: Iterable[str]
) -> str:
    """Picks the signature that does the work of the model and no other.

    Args:
        inputs: names of the inputs by signature.
        own_inputs: names of the model's inputs.

    Returns:
        The signature that takes the model's inputs rather than text; the
        first one when none does.

    Example:
    ```python
    inputs = {"serving_default": ["text"], "ids": ["token_ids"]}
    signature_to_time(inputs, ["token_ids"])  # "ids"
    ```
    """
    own = set(own_inputs)
    # Those that take tf.Examples may have an input of the same name.
    rivals = (
        name
        for name in inputs
        if name not in ("classify", "regress") and length_of(name) is None
    )
    takes_own = (name for name in rivals if set(inputs[name]) == own)
    return next(takes_own, next(iter(inputs)))


def _storable(array: np.ndarray) -> np.ndarray:
    """Strings as UTF-8 bytes of fixed width: npz without pickle.

    NumPy drops zeros at the end of bytes, where a tf.Example may well have
    some, so a dot ends each.
    """
    if array.dtype.kind not in "OU":
        return array
    texts = (x if isinstance(x, bytes) else x.encode() for x in array)
    return np.array([text + b"." for text in texts], dtype=np.bytes_)
