"""How fast one LiteRT file is beside another one."""

import dataclasses
import os
import pathlib
import statistics

from kbig.errors import UsageError
from kbig.export import processes
from kbig.models.arguments import check_positive
from kbig.reporting import Ratio
from kbig.reporting import Report
from kbig.reporting import Seconds
from kbig.reporting import Table

_WORKER = pathlib.Path(__file__).with_name("latency_worker.py")


@dataclasses.dataclass(frozen=True)
class LatencyReport(Report):
    """Latencies of two LiteRT files, measured in turns.

    Args:
        path: of the file.
        reference: of the one it is compared with.
        ratio: the median of the file's latency over the reference's, round
            by round; below 1 the file is faster.
        seconds: median of one call of the file.
        reference_seconds: likewise of the reference.
        rounds: that were measured.
        threads: of the interpreters.
    """

    path: str
    reference: str
    ratio: float
    seconds: float
    reference_seconds: float
    rounds: int
    threads: int

    def tables(self) -> list[Table]:
        """One table, the reference first."""
        rows = [
            (self.reference, Seconds(self.reference_seconds), Ratio(1.0)),
            (self.path, Seconds(self.seconds), Ratio(self.ratio)),
        ]
        note = (
            f"One call with one row on the CPU, threads: {self.threads}. "
            f"Medians of {self.rounds} rounds in turns, and of the ratios "
            "within the rounds."
        )
        return [Table("Latency", ("file", "latency", "ratio"), rows, note)]


def latency_ratio(
    path: str | os.PathLike,
    reference: str | os.PathLike,
    *,
    threads: int = 1,
    rounds: int = 40,
) -> LatencyReport:
    """Measures how fast a LiteRT file is beside another one.

    Both are loaded into one process without Keras and called in turns, one
    call at a time, so that what slows the machine down slows both. Each round
    gives a ratio of medians; what counts is the median of these. Inputs are
    random numbers and, where they are integers, ones.

    Args:
        path: a .tflite file.
        reference: what it is compared with, another one.
        threads: of each interpreter.
        rounds: of about 20 ms, or three calls of each file.

    Returns:
        A report, which prints as a table.

    Raises:
        UsageError: a file is missing or none of LiteRT, or a number is not
            positive.
        GateError: a file does not run, or not in time.

    Example:
    ```python
    report = kbig.export.latency_ratio("half.tflite", "whole.tflite")
    report.ratio  # 0.55
    ```
    """
    check_positive("threads", threads)
    check_positive("rounds", rounds)
    paths = [_existing(pathlib.Path(x)) for x in (path, reference)]
    seconds, reference_seconds = _timed(paths, threads, rounds)
    return LatencyReport(
        path=str(path),
        reference=str(reference),
        ratio=paired_ratio(seconds, reference_seconds),
        seconds=statistics.median(seconds),
        reference_seconds=statistics.median(reference_seconds),
        rounds=rounds,
        threads=threads,
    )


def paired_ratio(seconds, reference_seconds) -> float:
    """The median of the ratios of what was measured side by side.

    Args:
        seconds: floats, one a round.
        reference_seconds: likewise, of the same rounds.

    Returns:
        The ratio.

    Example:
    ```python
    paired_ratio([1.0, 9.0, 2.0], [2.0, 18.0, 2.0])  # 0.5
    ```
    """
    ratios = (a / b for a, b in zip(seconds, reference_seconds, strict=True))
    return statistics.median(ratios)


def _timed(paths, threads: int, rounds: int) -> list[list[float]]:
    request = {
        "paths": [str(path.resolve()) for path in paths],
        "threads": threads,
        "rounds": rounds,
    }
    names = " and ".join(path.name for path in paths)
    return processes.answer(_WORKER, request, names, "timed", "rounds")


def _existing(path: pathlib.Path) -> pathlib.Path:
    if path.is_file() and path.suffix == ".tflite":
        return path
    raise UsageError(
        f"Latencies are those of .tflite files. Received: {str(path)!r}. Pass "
        "what `kbig.export.litert` wrote."
    )
