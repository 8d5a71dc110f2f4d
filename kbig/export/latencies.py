"""Latencies of several artefacts, by threads and by rows in a call."""

import contextlib
import dataclasses
import os
import pathlib
import random
import statistics
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError
from kbig.export.kinds import kind_of
from kbig.export.kinds import short_name
from kbig.export.latency import paired_ratio
from kbig.export.runtime import artefact_process
from kbig.models.arguments import check_each_positive
from kbig.models.arguments import check_positive
from kbig.reporting import Ratio
from kbig.reporting import Report
from kbig.reporting import Seconds
from kbig.reporting import Table

ROUNDS = 12


@dataclasses.dataclass(frozen=True)
class Latency:
    """Of one artefact at one setting.

    Args:
        artefact: its name.
        threads: of its runtime.
        rows: in one call; where a file takes one row, so many calls.
        seconds: median over the rounds.
        ratio: median over the rounds of the multiple of the baseline's.
    """

    artefact: str
    threads: int
    rows: int
    seconds: float
    ratio: float


@dataclasses.dataclass(frozen=True)
class LatenciesReport(Report):
    """Latencies of artefacts, measured in turns.

    Args:
        latencies: by setting, and in it by artefact.
        baseline: name of the artefact that ratios are relative to.
        rounds: that were measured, in random order.
        load_average: of the machine over the minute before the end; more than
            the threads that ran says that others ran, too. NaN where the
            system does not tell.
    """

    latencies: tuple[Latency, ...]
    baseline: str
    rounds: int
    load_average: float

    def tables(self) -> list[Table]:
        """One table, a row for each artefact at each setting."""
        rows = [
            (
                x.artefact,
                x.threads,
                x.rows,
                Seconds(x.seconds),
                Seconds(x.seconds / x.rows),
                Ratio(x.ratio),
            )
            for x in self.latencies
        ]
        columns = ("artefact", "threads", "rows", "latency", "per row", "ratio")
        note = (
            f"Medians of {self.rounds} rounds in turns, on the CPU. Ratios are "
            f"to {self.baseline} at the same setting, within a round. Load "
            f"average at the end: {self.load_average:.2f}."
        )
        return [Table("Latencies", columns, rows, note)]


def latencies(
    artefacts: Iterable[str | os.PathLike],
    samples: Mapping[str, np.ndarray],
    *,
    baseline: str | os.PathLike | None = None,
    threads: Sequence[int] = (1, 2),
    rows: Sequence[int] = (1, 32),
    rounds: int = ROUNDS,
) -> LatenciesReport:
    """Measures how fast artefacts are beside one of them.

    Each is loaded by its own runtime in its own process. They are called in
    turns, in random order, so that what slows the machine down slows all.

    Args:
        artefacts: folders of SavedModels, .tflite and .onnx files.
        samples: arrays by name of what the model takes, `(rows, ...)`; they
            are taken again where there are fewer than a call has.
        baseline: one of the artefacts; by default the first.
        threads: of their runtimes.
        rows: in one call.
        rounds: of some 20 ms, or one call, of each.

    Returns:
        A report, which prints as a table.

    Raises:
        UsageError: no artefact, a missing one, a baseline that is none of
            them, a number that is not positive.
        GateError: an artefact does not run.

    Example:
    ```python
    paths = ["m-float32.tflite", "m-dynamic.tflite"]
    print(kbig.export.latencies(paths, {"token_ids": ids}))
    ```
    """
    check_each_positive("threads", threads)
    check_each_positive("rows", rows)
    check_positive("rounds", rounds)
    paths = [pathlib.Path(path) for path in artefacts]
    base = _index_of(paths, baseline)
    names = _names(paths)
    needed = _repeated(samples, max(rows))
    found = []
    for count in threads:
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(artefact_process(path, count, needed))
                for path in paths
            ]
            for process in running:
                process.prepare(needed)
            for number in rows:
                seconds = in_turns(running, rounds, number)
                found += [
                    Latency(
                        name,
                        count,
                        number,
                        statistics.median(own),
                        paired_ratio(own, seconds[base]),
                    )
                    for name, own in zip(names, seconds)
                ]
    return LatenciesReport(tuple(found), names[base], rounds, load_average())


def in_turns(participants: Sequence, rounds: int, rows: int = 1) -> list[list]:
    """Times calls in turns, in another order each round.

    Args:
        participants: with a method `time(calls, rows)`.
        rounds: of all.
        rows: in a call.

    Returns:
        Seconds of a call for each of them, the median of each round.
    """
    calls = [_calls_a_round(x, rows) for x in participants]
    seconds = [[] for _ in participants]
    order = list(range(len(participants)))
    shuffled = random.Random(0)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for i in order:
            found = participants[i].time(calls[i], rows)
            seconds[i].append(statistics.median(found))
    return seconds


def load_average() -> float:
    """Of the machine over the last minute, NaN where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _calls_a_round(participant, rows, round_seconds=0.02, most=20) -> int:
    participant.time(1, rows)  # The first call compiles or allocates.
    (seconds,) = participant.time(1, rows)
    return min(most, max(1, round(round_seconds / seconds)))


def check_baseline(paths, baseline, latencies: bool) -> None:
    """Raises a UsageError for a baseline that nothing is measured beside."""
    if latencies:
        _index_of(paths, baseline)
    elif baseline is not None:
        raise UsageError(
            "A baseline is of latencies by threads and rows. Received: "
            f"baseline={str(baseline)!r} and latencies=False. Pass "
            "latencies=True."
        )


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """Short ones, where they tell artefacts apart."""
    names = [short_name(path, kind_of(path).name) for path in paths]
    return names if len({*names}) == len(names) else list(map(str, paths))


def _index_of(paths: Sequence[pathlib.Path], baseline) -> int:
    if not paths:
        raise UsageError(
            "There must be artefacts to time. Received: none. Pass paths of "
            "SavedModels, .tflite or .onnx files."
        )
    if baseline is None:
        return 0
    if pathlib.Path(baseline) not in paths:
        raise UsageError(
            "The baseline must be one of the artefacts. Received: "
            f"{str(baseline)!r}. Pass one of {', '.join(map(str, paths))}."
        )
    return paths.index(pathlib.Path(baseline))


def _repeated(samples, rows: int) -> dict[str, np.ndarray]:
    return {
        name: np.take(x, np.arange(rows) % len(x), axis=0)
        for name, x in samples.items()
    }
