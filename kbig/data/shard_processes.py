"""Processes that write shards, and this one while there is little text."""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor

from kbig.data.shard_chunks import Chunk
from kbig.data.shard_files import ShardMaker
from kbig.data.vocabulary import save_vocabulary
from kbig.errors import KbigError

# Bytes of text that this process tokenizes in the time that others need to
# start.
_ALONE = 64_000_000
_WORKER = "kbig.data.shard_worker"
_VOCABULARY, _LOG = "vocabulary.txt", "log.txt"
_PACKAGES = pathlib.Path(__file__).parents[2]


class ShardWriters:
    """Writes shards: alone, or with a thread for each of several processes.

    A process is started anew, not forked, as TensorFlow has threads, and by
    name, so that a caller's script need not be importable.

    Args:
        directory: where the shards go.
        vocabulary: the tokens in order of their ids.
        casing: `lowercase` and `strip_accents`.
        processes: how many; `None`: one a core, after the first 64 MB.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        vocabulary: Sequence[str],
        casing: tuple[bool, bool],
        processes: int | None,
    ):
        self.processes = processes or _cores()
        self._directory = directory
        self._vocabulary = vocabulary
        self._casing = casing
        self._alone = _ALONE if processes is None else 0
        self._maker = None
        self._idle = queue.SimpleQueue()
        self._cleanup = contextlib.ExitStack()

    def __enter__(self):
        self._scratch = pathlib.Path(
            self._cleanup.enter_context(
                tempfile.TemporaryDirectory(prefix="kbig-")
            )
        )
        save_vocabulary(self._vocabulary, self._scratch / _VOCABULARY)
        self._pool = ThreadPoolExecutor(self.processes)
        return self

    def __exit__(self, *error):
        # What was submitted is not waited for when something failed.
        self._pool.shutdown(cancel_futures=True)
        self._cleanup.close()

    def submit(self, chunk: Chunk) -> Future:
        """Has a shard written.

        Args:
            chunk: its documents.

        Returns:
            What `ShardMaker` returns, now or later.
        """
        path = self._directory / chunk.file
        if self.processes > 1 and self._alone <= 0:
            return self._pool.submit(self._elsewhere, path, chunk.documents)
        self._alone -= chunk.text_bytes
        if self._maker is None:
            self._maker = ShardMaker(self._vocabulary, *self._casing)
        done = Future()
        done.set_result(self._maker(path, chunk.documents))
        return done

    def _elsewhere(self, path, documents):
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = self._started()
        sizes = [len(document) for document in documents]
        request = json.dumps({"path": str(path), "sizes": sizes})
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request.encode() + b"\n")
            process.stdin.writelines(documents)
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise KbigError(
                f"The process that writes {path} ended with status "
                f"{process.wait()}: {self._last_words() or 'no message'}. "
                "Call again: the shards that are there are kept."
            )
        self._idle.put(process)
        return json.loads(answer)

    def _started(self):
        with (self._scratch / _LOG).open("a") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    _WORKER,
                    self._scratch / _VOCABULARY,
                ]
                + [str(int(choice)) for choice in self._casing],
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._cleanup.callback(_end, process)
        return process

    def _last_words(self):
        log = (self._scratch / _LOG).read_text(errors="replace")
        return log.strip().rpartition("\n")[2]


def _cores() -> int:
    """Those that this process may use; only Linux tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _environment():
    """Packages where they are here, no GPU, and one thread a process."""
    paths = [str(_PACKAGES), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }


def _end(process):
    process.kill()
    # What a dead process never read is still to be flushed.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
