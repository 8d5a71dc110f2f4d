"""What do integers cost in accuracy, and what does training for them cost?

python benchmarks/quantization.py images --data FASHION_MNIST
python benchmarks/quantization.py cost
python benchmarks/quantization.py latency

images: the residual CNN of `kbig.models.cnn` on full Fashion-MNIST (Debian's
package dataset-fashion-mnist), trained in float, then one epoch more for
integers: by kbig, and by TFMOT in tf_keras from the same weights and batches.
The control is one epoch more in float, and post-training int8 of that. What
counts is the accuracy of the .tflite files on the 10,000 test images.

cost: a training step of a quantized model beside one of the float model, in
turns.

latency: a BERT of MiniLM's size at 128 tokens as float32, dynamic int8 and
int8, in turns.

Texts and series: `kbig quantize --from RUN --seeds 3`.

Every result is printed and written to --out as soon as it is there.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from pruning import batches
from pruning import idx_files
from pruning import residual_cnn
from pruning import show
from pruning import step_seconds

import kbig

HERE = pathlib.Path(__file__).parent


def main():
    options = parsed_options()
    measure = {"images": images, "cost": cost, "latency": latency}
    show(f"Quantization: {options.what}", measure[options.what], options)


def parsed_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("images", "cost", "latency"))
    parser.add_argument("--data", type=pathlib.Path, help="of images")
    parser.add_argument("--limit", type=int, default=0, help="training rows")
    parser.add_argument("--epochs", type=int, default=2, help="in float")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("quantization.json")
    )
    return parser.parse_args()


def images(options):
    x, y = idx_files(options.data, "train")
    test = idx_files(options.data, "t10k")
    rows = options.limit or len(x)
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(options.seeds):
            keras.utils.set_random_seed(seed)
            orders = [
                np.random.default_rng((seed, epoch)).permutation(len(x))[:rows]
                for epoch in range(options.epochs + 1)
            ]
            model = residual_cnn()
            data = {"x": x, "y": y, "order": np.stack(orders[:-1])}
            fitted(model, data, 1e-3)
            data["order"] = np.stack(orders[-1:])
            folder = pathlib.Path(directory)
            for side, file in files(model, data, options, folder):
                yield side, seed, accuracy(file, *test)
                yield f"{side}, bytes", seed, float(file.stat().st_size)


def files(model, data, options, folder):
    """Every side's .tflite file."""
    x = data["x"][:200]
    shared = folder / "shared.npz"
    weights = {weight.path: weight.numpy() for weight in model.weights}
    np.savez(shared, **weights, **data)
    path = folder / "file.tflite"
    kbig.export.litert(model, path, samples=x)
    yield "float32", path

    quantized = kbig.compression.quantize_aware(model, x)
    fitted(quantized, data, options.learning_rate)
    kbig.export.litert(quantized, path, mode="int8", samples=x)
    yield "kbig QAT, int8", path

    path.unlink()
    script = HERE / "quantization_tfmot.py"
    arguments = (shared, options.learning_rate, path)
    subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        check=True,
        capture_output=True,
    )
    yield "TFMOT QAT, int8", path

    fitted(model, data, options.learning_rate)
    kbig.export.litert(model, path, samples=x)
    yield "control, float32", path
    kbig.export.litert(model, path, mode="int8", samples=x, representative=x)
    yield "control, post-training int8", path


def fitted(model, data, rate):
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(
        batches(data),
        epochs=len(data["order"]),
        steps_per_epoch=len(data["order"][0]) // 64,
        verbose=0,
    )


def accuracy(file, x, y) -> float:
    """Of a .tflite file that takes one image in float."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (taken,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    right = 0
    for image, label in zip(x, y):
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        right += interpreter.get_tensor(taken["index"]).argmax() == label
    return float(right / len(y))


def minilm(num_classes: int):
    """A BERT of MiniLM's size, with padding in half of its rows."""
    size = {"num_layers": 6, "hidden_dim": 384, "num_heads": 12}
    model = kbig.models.bert_classifier(
        kbig.models.bert(size, 1000), num_classes
    )
    ids = np.random.default_rng(0).integers(5, 1000, (64, 128), "int32")
    mask = np.ones_like(ids)
    mask[:32, 64:] = 0
    return model, {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": mask,
    }


def cost(options):
    """Seconds of a step, float and quantized in turns."""
    images = np.random.default_rng(0).normal(size=(64 * 40, 28, 28, 1))
    bert, tokens = minilm(10)
    short = {name: x[:, :32] for name, x in tokens.items()}
    for name, model, x, batch_size, jit in (
        ("CNN", residual_cnn(), images.astype("float32"), 64, False),
        ("BERT", bert, short, 32, True),
    ):
        rows = len(keras.tree.flatten(x)[0])
        y = np.random.default_rng(0).integers(0, 10, rows)
        sample = keras.tree.map_structure(lambda each: each[:32], x)
        sides = {
            "float": model,
            "quantized": kbig.compression.quantize_aware(model, sample),
        }
        found = {side: [] for side in sides}
        for each in sides.values():
            each.compile(
                kbig.training.adamw(1e-4),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                jit_compile=jit,
            )
        for number in range(-1, 2 * options.seeds):
            side = list(sides)[number % 2]
            seconds = step_seconds(sides[side], x, y, batch_size, epochs=4)
            if number > 0 or side == "float" and number == 0:
                found[side].append(seconds)
                yield f"{name}, {side}, seconds of a step", number, seconds
        medians = [statistics.median(each) for each in found.values()]
        yield f"{name}, ratio", 0, medians[1] / medians[0]


def latency(options):
    # Decisions of a model that was not trained would be ties.
    model, x = minilm(1)
    quantized = kbig.compression.quantize_aware(model, x)
    integers = kbig.compression.quantize_aware(model, x, islands=False)
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        paths = {}
        for name, each, mode in (
            ("float32", model, "float32"),
            ("dynamic int8", model, "dynamic"),
            ("int8", quantized, "int8"),
            ("int8 without islands", integers, "int8"),
        ):
            paths[name] = folder / f"{name.replace(' ', '-')}.tflite"
            kbig.export.litert(each, paths[name], mode=mode, samples=x)
        for name, path in paths.items():
            report = kbig.export.latency_ratio(path, paths["float32"])
            yield f"{name}, ms", 0, 1000 * report.seconds
            yield f"{name}, ratio", 0, report.ratio


if __name__ == "__main__":
    main()
