"""Sides of a comparison, each a process of its own, that take turns.

The script of the sides is started as `SCRIPT SIDE OPTIONS.json`. It reads a
line `FIRST_STEP STEPS` from standard input, works, and answers with a line of
JSON: at least `seconds`, and how many `tokens` they took.
"""

import contextlib
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from collections.abc import Sequence

from kbig.reporting.tables import Ratio
from kbig.reporting.tables import Table


def compare(
    script: str, sides: Sequence[str], settings: dict, options
) -> tuple[dict, dict]:
    """Lets the sides take turns.

    Args:
        script: the path of the sides' script.
        sides: their names.
        settings: what each of them gets, ready for JSON.
        options: with `rounds`, `steps` of each of them, and `warmup` steps.

    Returns:
        Of every side: tokens a second of each round, and the last answer.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "options.json")
        path.write_text(json.dumps(settings), "utf-8")
        return _alternate(script, sides, path, options)


def available(sides: Sequence[str]) -> list[str]:
    """Leaves Hugging Face out, and says so, where it is not installed."""
    missing = [
        name
        for name in ("torch", "transformers")
        if importlib.util.find_spec(name) is None
    ]
    skipped = [name for name in sides if missing and name.startswith("torch-")]
    if skipped:
        print(
            f"Left out: {', '.join(skipped)}; not installed: "
            f"{', '.join(missing)}."
        )
    return [name for name in sides if name not in skipped]


def serve(prepare: Callable[[str, types.SimpleNamespace], Callable]) -> None:
    """The other end: answers until standard input ends.

    Args:
        prepare: takes the side's name and what `compare` was given as
            settings. Gives a function of the first step and the number of
            steps, which gives the answer.
    """
    name, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        work = prepare(name, types.SimpleNamespace(**json.load(file)))
    for line in sys.stdin:
        print("ANSWER", json.dumps(work(*map(int, line.split()))), flush=True)


def medians(rates: dict) -> dict:
    """The middle of every side's rounds."""
    return {name: statistics.median(each) for name, each in rates.items()}


def table(
    title: str,
    rates: dict,
    baselines: Sequence[str],
    note: str,
    **columns: dict,
) -> Table:
    """Medians and ranges of each side, and the ratio to the best baseline.

    Args:
        title: of the table.
        rates: as of `compare`.
        baselines: sides of which the faster one is 1.
        note: under the table.
        **columns: further ones, with a value for every side.
    """
    middle = medians(rates)
    best = max((middle[n] for n in baselines if n in middle), default=None)
    return Table(
        title=title,
        columns=(
            "side",
            "real tokens/s, median",
            "lowest",
            "highest",
            "to KerasHub's better",
            *(name.replace("_", " ") for name in columns),
        ),
        rows=[
            (
                name,
                round(median),
                round(min(rates[name])),
                round(max(rates[name])),
                Ratio(median / best) if best else None,
                *(values[name] for values in columns.values()),
            )
            for name, median in middle.items()
        ],
        note=note,
    )


@contextlib.contextmanager
def _started(script, name, path):
    """A side's process, stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, script, name, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _turn(process, first_step, steps):
    process.stdin.write(f"{first_step} {steps}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("ANSWER "):
            return json.loads(line.removeprefix("ANSWER "))
    raise RuntimeError(f"{process.args} ended. See its error above.")


def _alternate(script, sides, path, options):
    rates, answers = {name: [] for name in sides}, {}
    with contextlib.ExitStack() as stack:
        processes = {}
        for name in sides:
            # One after the other, so that no two compile at once.
            processes[name] = stack.enter_context(_started(script, name, path))
            _turn(processes[name], 0, options.warmup)
            print(f"{name} is warm", file=sys.stderr)
        for number in range(options.rounds):
            first = options.warmup + number * options.steps
            for name, process in processes.items():
                answer = answers[name] = _turn(process, first, options.steps)
                rates[name].append(answer["tokens"] / answer["seconds"])
                print(
                    f"round {number + 1}: {name} {rates[name][-1]:.0f}",
                    file=sys.stderr,
                )
    return rates, answers
