"""Latency of a BERT of MiniLM's size in onnxruntime and LiteRT, in turns.

python benchmarks/onnx_latency.py

Each file is loaded in a process of its own, with one thread and batch 1; calls
take turns, in another order each round. What counts is the median over the
rounds of the ratio to LiteRT's float32 file in the same round.
"""

import argparse
import contextlib
import pathlib
import random
import statistics
import tempfile

import keras
import numpy as np

import kbig
from kbig.export.runtime import artefact_process

SIZE = {
    "num_layers": 6,
    "hidden_dim": 384,
    "num_heads": 12,
    "intermediate_dim": 1536,
}
FORMATS = ("litert-float32", "litert-dynamic", "onnx-float32", "onnx-dynamic")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--vocabulary-size", type=int, default=30522)
    parser.add_argument("--int8", action="store_true", help="quantized, too")
    return parser.parse_args()


def model_and_rows(options):
    """Weights of chance, and half of each row padded."""
    keras.utils.set_random_seed(0)
    backbone = kbig.models.bert(SIZE, options.vocabulary_size)
    model = kbig.models.bert_classifier(backbone, 8)
    generator = np.random.default_rng(0)
    shape = (8, options.length)
    ids = generator.integers(1, options.vocabulary_size, shape, "int32")
    ids[1::2, options.length // 2 :] = 0
    return model, {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": (ids > 0).astype("int32"),
    }


def written(options, folder) -> list[pathlib.Path]:
    model, rows = model_and_rows(options)
    report = kbig.export.artefacts(model, folder, FORMATS, samples=rows)
    paths = [pathlib.Path(x.path) for x in report.artefacts]
    print(report)
    if options.int8:
        quantized = kbig.compression.quantize_aware(model, rows)
        for suffix, export in (
            (".tflite", kbig.export.litert),
            (".onnx", kbig.export.onnx),
        ):
            path = folder / f"model-int8{suffix}"
            print(export(quantized, path, "int8", samples=rows))
            paths.append(path)
    return paths


def timed(paths, rows, rounds) -> list[list[float]]:
    seconds = [[] for _ in paths]
    order = list(range(len(paths)))
    shuffled = random.Random(0)
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(artefact_process(path, 1, list(rows)))
            for path in paths
        ]
        for process in processes:
            process.run(rows)
            process.time(3)
        for _ in range(rounds):
            shuffled.shuffle(order)
            for i in order:
                seconds[i].append(statistics.median(processes[i].time(3)))
    return seconds


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        paths = written(options, pathlib.Path(folder))
        _, rows = model_and_rows(options)
        seconds = timed(paths, rows, options.rounds)
        for path, own in zip(paths, seconds):
            ratios = [a / b for a, b in zip(own, seconds[0])]
            print(
                f"{path.name:24} {1e3 * statistics.median(own):8.2f} ms  "
                f"{statistics.median(ratios):6.3f}  "
                f"{path.stat().st_size / 1e6:7.1f} MB"
            )


if __name__ == "__main__":
    main()
