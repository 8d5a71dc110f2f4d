"""How fast is each artefact of one BERT, how small, and how much the same?

python benchmarks/artefacts.py --run runs/minilm --quantized runs/minilm-int8

Takes a run of `kbig finetune` and one that `kbig quantize` made of it, writes
every kind of file for rows of --length tokens, and runs each in a process of
its own with one thread and batch 1. Agreement and accuracy are of all test
texts. Latencies take turns, in another order each round; what counts is the
median over the rounds of the ratio to LiteRT's float32 file in the same round.

Files whose length is free are also timed on shorter rows. The last line says
whether the fastest artefact that agrees with Keras is as fast as wanted, and
shorter rows in proportion; the exit status is 1 where they are not.
"""

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile

import numpy as np

import kbig
from kbig.export.latencies import in_turns
from kbig.export.latencies import load_average
from kbig.export.runtime import KerasReference
from kbig.export.runtime import artefact_process
from kbig.runs import Run

# Suffix, mode, and which dimensions are free.
FLOAT_FILES = {
    "litert-float32": (".tflite", "float32", ()),
    "litert-dynamic": (".tflite", "dynamic", ()),
    "litert-float32-free": (".tflite", "float32", ("length",)),
    "litert-dynamic-free": (".tflite", "dynamic", ("length",)),
    "onnx-float32": (".onnx", "float32", ()),
    "onnx-dynamic": (".onnx", "dynamic", ()),
}
INTEGER_FILES = {
    "litert-int8": (".tflite", "int8", ()),
    "onnx-int8": (".onnx", "int8", ()),
}
SHORTER = (64, 32, 16)
# Of LiteRT float32's time, and of decisions that are Keras's.
MOST_TIME, LEAST_AGREEMENT = 0.28, 0.99
# Times the share of tokens: a call costs something whatever its length.
MOST_BESIDE_TOKENS = 1.2


def main() -> int:
    options = parsed_options()
    run = Run.open(options.run)
    rows, labels = test_rows(run, options)
    model = run.load_model()
    expected = KerasReference(model, rows).outputs()["logits"].argmax(-1)
    print(f"Keras: accuracy {np.mean(expected == labels):.4f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = written(model, FLOAT_FILES, rows, pathlib.Path(folder))
        if options.quantized:
            quantized = Run.open(options.quantized).load_model()
            paths |= written(
                quantized, INTEGER_FILES, rows, pathlib.Path(folder)
            )
        missed = measure(paths, rows, (expected, labels), options)
    print(f"Load average: {load_average():.2f}")
    print(f"Verdict: {'; '.join(missed) or 'as wanted'}")
    return 1 if missed else 0


def parsed_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True)
    parser.add_argument("--quantized", help="what quantize made of the run")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--limit", type=int, help="test texts to decide on")
    return parser.parse_args()


def test_rows(run: Run, options):
    dataset = kbig.data.load(run.config["data"])
    texts, labels = dataset.arrays("test")
    texts, labels = texts[: options.limit], labels[: options.limit]
    rows = kbig.data.encode(texts, run.tokenizer(), options.length)
    return {name: x.numpy() for name, x in rows.items()}, labels


def written(model, files, rows, folder) -> dict[str, pathlib.Path]:
    """Files of a model by name, each proved on a few of the rows."""
    few = {name: x[:16] for name, x in rows.items()}
    paths = {}
    for name, (suffix, mode, free) in files.items():
        paths[name] = folder / f"{name}{suffix}"
        if suffix == ".onnx":
            kbig.export.onnx(model, paths[name], mode, samples=few)
        else:
            kbig.export.litert(model, paths[name], mode, samples=few, free=free)
        print(f"{name}: written", flush=True)
    return paths


def measure(paths, rows, meant, options) -> list[str]:
    """Shows what was measured; returns what is not as wanted."""
    expected, labels = meant
    table, agreed, ratios = [], {}, {}
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(artefact_process(path, 1, list(rows)))
            for name, path in paths.items()
        }
        decided = {
            name: process.run(rows)["serving_default"]["logits"].argmax(-1)
            for name, process in processes.items()
        }
        seconds = latencies(processes, options.rounds)
        base = seconds["litert-float32"]
        for name, own in seconds.items():
            latency, ratios[name] = in_numbers(own, base)
            agreed[name] = np.mean(decided[name] == expected)
            table.append(
                (
                    name,
                    kbig.reporting.Bytes(paths[name].stat().st_size),
                    round(agreed[name], 4),
                    round(np.mean(decided[name] == labels), 4),
                    latency,
                    ratios[name],
                )
            )
        show("Artefacts", ("size", "top-1", "accuracy"), table)
        shares = shorter(processes, rows, options)
    return [
        *misses_of_the_best(agreed, ratios),
        *misses_by_length(ratios, shares, options.length),
    ]


def misses_of_the_best(agreed, ratios) -> list[str]:
    """One sentence, or none."""
    close = [name for name in ratios if agreed[name] >= LEAST_AGREEMENT]
    if not close:
        return [f"no file agrees with Keras in {LEAST_AGREEMENT:.0%}"]
    best = min(close, key=ratios.get)
    if ratios[best] <= MOST_TIME:
        return []
    return [
        f"{best} takes {ratios[best]:.2f} of LiteRT float32's time, the least "
        f"of what agrees with Keras in {LEAST_AGREEMENT:.0%}; at most "
        f"{MOST_TIME:.2f} is wanted"
    ]


def misses_by_length(ratios, shares, length) -> list[str]:
    """A sentence for each length: of the fastest file that takes it."""
    best = min((name for name, _ in shares), key=ratios.get)
    limits = {x: MOST_BESIDE_TOKENS * x / length for x in SHORTER}
    return [
        f"{best} takes {shares[best, x]:.2f} of its time for {x} tokens, at "
        f"most {most:.2f} is wanted"
        for x, most in limits.items()
        if shares[best, x] > most
    ]


def shorter(processes, rows, options) -> dict[tuple[str, int], float]:
    """Latency by length, as a share of the same file's at full length."""
    free = {k: v for k, v in processes.items() if "free" in k or "onnx" in k}
    whole = latencies(free, options.rounds)
    table, shares = [], {}
    for length in SHORTER:
        cut = {name: x[:1, :length] for name, x in rows.items()}
        for process in free.values():
            process.prepare(cut)
        seconds = latencies(free, options.rounds)
        for name, own in seconds.items():
            latency, share = in_numbers(own, whole[name])
            shares[name, length] = share
            table.append((f"{name}, {length}", latency, share))
    show(f"Length, beside {options.length}", (), table)
    return shares


def in_numbers(own, base) -> tuple:
    ratio = statistics.median(a / b for a, b in zip(own, base))
    seconds = kbig.reporting.Seconds(statistics.median(own))
    return seconds, kbig.reporting.Ratio(ratio)


def show(title, columns, rows) -> None:
    columns = ("artefact", *columns, "latency", "ratio")
    kbig.reporting.show(kbig.reporting.Table(title, columns, rows))


def latencies(processes, rounds) -> dict[str, list[float]]:
    """Seconds of one call of each, a number a round, in turns."""
    seconds = in_turns(list(processes.values()), rounds)
    return dict(zip(processes, seconds))


if __name__ == "__main__":
    sys.exit(main())
