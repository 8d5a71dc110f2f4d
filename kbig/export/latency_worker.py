"""Run as a script: times two LiteRT files in turns, in one process.

A process of its own: it has neither Keras nor TensorFlow, and a file that
ends the interpreter ends only this process. It takes one line of JSON, such
as

    {"paths": ["a.tflite", "b.tflite"], "threads": 1, "rounds": 40}

and its last line of output is JSON too: for each file the seconds of one call
in each round.
"""

import json
import sys
import time

import numpy as np

_ROUND_SECONDS = 0.01
_MOST_CALLS = 200


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

    def seconds(self, calls: int) -> float:
        """Of one call, the mean of so many."""
        start = time.perf_counter()
        for _ in range(calls):
            self._interpreter.invoke()
        return (time.perf_counter() - start) / calls


def _values(generator, shape, dtype):
    """Normal numbers; ones, as valid ids and an open mask."""
    if np.issubdtype(dtype, np.floating):
        return generator.normal(size=shape).astype(dtype)
    return np.ones(shape, dtype)


def timed(files, rounds: int) -> list[list[float]]:
    """Seconds of one call, for each file a list of rounds.

    Which one goes first changes from round to round: a clock that slows
    down in a round slows down both.
    """
    calls = [_calls(file) for file in files]
    seconds = [[] for _ in files]
    order = list(range(len(files)))
    for _ in range(rounds):
        for index in order:
            seconds[index].append(files[index].seconds(calls[index]))
        order.reverse()
    return seconds


def _calls(file) -> int:
    wanted = round(_ROUND_SECONDS / max(file.seconds(3), 1e-9))
    return min(_MOST_CALLS, max(1, wanted))


def main() -> None:
    """Answers the request on the standard input."""
    request = json.loads(sys.stdin.readline())
    files = [File(path, request["threads"]) for path in request["paths"]]
    print(json.dumps(timed(files, request["rounds"])))


if __name__ == "__main__":
    main()
