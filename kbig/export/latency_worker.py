"""Run as a script: times two LiteRT files in turns, in one process.

A process of its own: it has neither Keras nor TensorFlow, and a file that
ends the interpreter ends only this process. It takes one line of JSON, such
as

    {"paths": ["a.tflite", "b.tflite"], "threads": 1, "rounds": 40}

and its last line of output is JSON too: for each file the seconds of one call
in each round.
"""

import json
import statistics
import sys
import time

import numpy as np

# A round takes about so long, and so many calls of each file.
_ROUND_SECONDS = 0.02
_LEAST_CALLS, _MOST_CALLS = 3, 99


class File:
    """A .tflite file that is ready to be called."""

    def __init__(self, path: str, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        generator = np.random.default_rng(0)
        for detail in self._interpreter.get_input_details():
            values = _values(generator, detail["shape"], detail["dtype"])
            self._interpreter.set_tensor(detail["index"], values)
        self._interpreter.invoke()  # The first call allocates.

    def seconds(self) -> float:
        """Of one call, right after another one: its weights are at hand."""
        self._interpreter.invoke()
        start = time.perf_counter()
        self._interpreter.invoke()
        return time.perf_counter() - start


def _values(generator, shape, dtype):
    """Normal numbers; ones, as valid ids and an open mask."""
    if np.issubdtype(dtype, np.floating):
        return generator.normal(size=shape).astype(dtype)
    return np.ones(shape, dtype)


def timed(files, rounds: int) -> list[list[float]]:
    """Seconds of one call, for each file a list of rounds.

    A round has the median of calls that take turns one by one. In longer
    turns a machine with other work would interrupt the one file again and
    again, and the other one never; so a few calls of both are interrupted,
    and count for nothing.
    """
    calls = _calls(files)
    order = list(range(len(files)))
    seconds = [[] for _ in files]
    for _ in range(rounds):
        round_seconds = [[] for _ in files]
        for _ in range(calls):
            for index in order:
                round_seconds[index].append(files[index].seconds())
            order.reverse()
        for own, all_calls in zip(seconds, round_seconds):
            own.append(statistics.median(all_calls))
    return seconds


def _calls(files) -> int:
    # Each is called twice for once that counts.
    together = 2 * sum(file.seconds() for file in files)
    wanted = round(_ROUND_SECONDS / max(together, 1e-9))
    return min(_MOST_CALLS, max(_LEAST_CALLS, wanted))


def main() -> None:
    """Answers the request on the standard input."""
    request = json.loads(sys.stdin.readline())
    files = [File(path, request["threads"]) for path in request["paths"]]
    print(json.dumps(timed(files, request["rounds"])))


if __name__ == "__main__":
    main()
