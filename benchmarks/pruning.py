"""How much accuracy does pruning cost, and beside what?

python benchmarks/pruning.py images --data /usr/share/datasets/fashion-mnist
python benchmarks/pruning.py texts --run runs/minilm --start MINILM \
    --limit 4000 --epochs 6 --learning-rate 2e-4
python benchmarks/pruning.py cost

images: the residual CNN of `kbig.models.cnn` on full Fashion-MNIST (Debian's
package dataset-fashion-mnist), trained from nothing and pruned meanwhile,
beside TFMOT's pruning of the same model in tf_keras: the same first weights,
batches, schedule and optimizer. The control of both sides is not pruned.

texts: the data and the head of a run of `kbig finetune --from MINILM`, trained
from the pretrained weights of the directory --start, as the paper of movement
pruning does, and pruned meanwhile by magnitude and by movement. Without
--start the run's own weights are trained on. The control is trained just as
long.

cost: what a step of fit takes without a Pruner and with one, by magnitude and
by movement, updates of the masks included; in turns, each side first as often
as another. Ratios are of the same round, and have a mean and a spread.

Every result is printed and written to --out as soon as it is there.
"""

import argparse
import gzip
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import kbig
from kbig.compression.pruning.schedules import PolynomialSparsity
from kbig.compression.pruning.schedules import over_run

HERE = pathlib.Path(__file__).parent
# Of a run that is timed.
EPOCHS = 10
METHODS = ("control", "magnitude", "movement")
# Of what is timed.
SIDES = ("plain", "magnitude", "movement")


def main():
    options = parsed_options()
    measure = {"images": images, "texts": texts, "cost": cost}[options.what]
    rivals = without_first_word if options.what == "images" else str
    show(f"Pruning: {options.what}", measure, options, rivals)


def without_first_word(side):
    """The same for "kbig 95%" and "TFMOT 95%"."""
    return side.partition(" ")[2]


def show(title, measure, options, rivals=str):
    """Writes every result as it comes, and a table of them at the end.

    Sides for which `rivals` gives the same are compared: what is averaged are
    the seeds that all of them have.
    """
    results = {}
    told = {"options": {k: str(v) for k, v in vars(options).items()}}
    for side, seed, number in measure(options):
        results.setdefault(side, []).append((seed, number))
        print(f"{side}, {seed}: {number:.5f}", flush=True)
        options.out.write_text(json.dumps(told | results, indent=2))
    rows = [
        (side, np.mean(each), np.std(each, ddof=len(each) > 1), len(each))
        for side, each in paired(results, rivals).items()
    ]
    columns = ("side", "mean", "standard deviation", "seeds")
    kbig.reporting.show(kbig.reporting.Table(title, columns, rows))


def paired(results, rivals):
    """Of every side the numbers of seeds that its rivals have, too."""
    common = {}
    for side, each in results.items():
        seeds = {seed for seed, _ in each}
        name = rivals(side)
        common[name] = common.get(name, seeds) & seeds
    return {
        side: [number for seed, number in each if seed in common[rivals(side)]]
        for side, each in results.items()
        if common[rivals(side)]
    }


def parsed_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("images", "texts", "cost"))
    parser.add_argument("--data", type=pathlib.Path, help="of images")
    parser.add_argument("--run", help="of finetune, for texts")
    parser.add_argument("--start", help="Hugging Face directory, for texts")
    parser.add_argument("--limit", type=int, default=0, help="training rows")
    parser.add_argument("--sparsities", nargs="+", type=float)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=METHODS,
        help="of texts",
    )
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    add_xla(parser)
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("pruning.json")
    )
    options = parser.parse_args()
    if options.sparsities is None:
        options.sparsities = {
            "images": [0.0, 0.5, 0.8, 0.9, 0.95],
            "texts": [0.5, 0.7, 0.9],
            "cost": [0.8],
        }[options.what]
    return options


def add_xla(parser):
    parser.add_argument(
        "--no-xla",
        dest="xla",
        action="store_const",
        const=False,
        default="auto",
        help="of texts: XLA compiles for each length of rows, slowly on a GPU",
    )


def seeds(options):
    return range(options.first_seed, options.first_seed + options.seeds)


def images(options):
    """Both sides of every seed see the same, at each sparsity."""
    x, y = idx_files(options.data, "train")
    rows = options.limit or len(x)
    with tempfile.TemporaryDirectory() as directory:
        shared = pathlib.Path(directory) / "shared.npz"
        for seed in seeds(options):
            keras.utils.set_random_seed(seed)
            model = residual_cnn()
            order = [
                np.random.default_rng((seed, epoch)).permutation(len(x))[:rows]
                for epoch in range(options.epochs)
            ]
            test_x, test_y = idx_files(options.data, "t10k")
            np.savez(
                shared,
                **{weight.path: weight.numpy() for weight in model.weights},
                x=x,
                y=y,
                test_x=test_x,
                test_y=test_y,
                order=np.stack(order),
            )
            for sparsity in options.sparsities:
                schedule = over_run(sparsity, 0, options.epochs * (rows // 64))
                accuracy = kbigs_images(shared, schedule)
                yield f"kbig {sparsity:.0%}", seed, accuracy
                yield f"TFMOT {sparsity:.0%}", seed, tfmots(shared, schedule)


def kbigs_images(shared, schedule):
    with np.load(shared) as data:
        model = residual_cnn()
        for weight in model.weights:
            weight.assign(data[weight.path])
        pruner = kbig.compression.Pruner(schedule)
        model.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        model.fit(
            batches(data),
            epochs=len(data["order"]),
            steps_per_epoch=len(data["order"][0]) // 64,
            verbose=0,
            callbacks=[pruner] if schedule.final_sparsity else [],
        )
        logits = model.predict(data["test_x"], batch_size=256, verbose=0)
        return float((logits.argmax(-1) == data["test_y"]).mean())


def residual_cnn():
    return kbig.models.cnn((28, 28, 1), 10, block="residual")


def batches(data):
    """The images of all epochs, in the order that both sides have."""
    x, y = data["x"], data["y"]
    order = np.concatenate(
        [rows[: len(rows) // 64 * 64] for rows in data["order"]]
    )
    rows = tf.data.Dataset.from_tensor_slices(order).batch(64)
    x, y = tf.constant(x), tf.constant(y)
    return rows.map(lambda i: (tf.gather(x, i), tf.gather(y, i)))


def tfmots(shared, schedule):
    """In a process of its own, which is on Keras 2."""
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "pruning_tfmot.py"),
            str(shared),
            *map(
                str,
                (
                    schedule.final_sparsity,
                    schedule.begin_step,
                    schedule.end_step,
                    schedule.frequency,
                ),
            ),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def texts(options):
    """Fine-tunes, with and without pruning."""
    run = kbig.runs.Run.open(options.run)
    dataset = kbig.data.load(run.config["data"])
    test = dataset.arrays("test")
    if not options.start:
        yield "the run", 0, accuracy_of_texts(run, run.load_model(), test)
    for seed in seeds(options):
        if "control" in options.methods:
            yield "control", seed, text_side(run, dataset, None, seed, options)
        for sparsity in options.sparsities:
            for method in METHODS[1:]:
                if method not in options.methods:
                    continue
                pruner = kbig.compression.Pruner(
                    sparsity, layers="transformer_layer_*", method=method
                )
                yield (
                    f"{method} {sparsity:.0%}",
                    seed,
                    text_side(run, dataset, pruner, seed, options),
                )


def text_side(run, dataset, pruner, seed, options):
    model = run.load_model()
    if options.start:
        keras.utils.set_random_seed(seed)
        model = kbig.models.bert_classifier(
            kbig.models.load_hugging_face(options.start).backbone,
            model.output.shape[-1],
            pooling=run.config["pooling"],
        )
    trained_on_texts(run, model, dataset, pruner, seed, options)
    return accuracy_of_texts(run, model, dataset.arrays("test"))


def trained_on_texts(run, model, dataset, pruner, seed, options):
    """Trains the model of a run, or one made of it, on the run's data."""
    runtime = kbig.training.Runtime("none", xla=options.xla, seed=seed)
    x, y = dataset.arrays("train")
    rows = np.random.default_rng(seed).permutation(len(x))
    rows = rows[: options.limit or None]
    train = kbig.data.bucketed_batches(
        x[rows],
        y[rows],
        32,
        run.tokenizer(),
        run.config["sequence_length"],
        shuffle=True,
        seed=seed,
        drop_remainder=True,
    )
    total = options.epochs * int(train.cardinality())
    rate = kbig.training.WarmupLinear(options.learning_rate, total // 10, total)
    with runtime.scope(), runtime.fusing(model):
        model.compile(
            kbig.training.adamw(rate, global_clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=runtime.jit_compile,
        )
        model.fit(
            train,
            epochs=options.epochs,
            verbose=0,
            shuffle=False,
            callbacks=[pruner] if pruner else [],
        )
    return model


def accuracy_of_texts(run, model, test):
    logits = kbig.evaluation.TASKS["classification"].predict(
        model, test[0], run.tokenizer(), run.config["sequence_length"]
    )
    return float((logits.argmax(-1) == test[1]).mean())


def cost(options):
    """Seconds of a step: a CNN on images, and a BERT of MiniLM's size."""
    generator = np.random.default_rng(0)
    size = {"num_layers": 6, "hidden_dim": 384, "num_heads": 12}
    ids = generator.integers(5, 1000, (64 * 8, 32))
    sides = {
        "CNN": (
            residual_cnn(),
            generator.normal(size=(64 * 60, 28, 28, 1)).astype("float32"),
            64,
        ),
        "BERT": (
            kbig.models.bert_classifier(kbig.models.bert(size, 1000), 10),
            {
                "token_ids": ids,
                "segment_ids": np.zeros_like(ids),
                "padding_mask": np.ones_like(ids),
            },
            32,
        ),
    }
    for name, (model, x, batch_size) in sides.items():
        model.compile(
            kbig.training.adamw(1e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        rows = len(keras.tree.flatten(x)[0])
        y = generator.integers(0, 10, rows)
        found = {side: [] for side in SIDES}
        for number in range(-1, options.seeds):
            for side in turn(number):
                seconds = timed(model, x, y, batch_size, side)
                if number >= 0:  # The first round makes the machine warm.
                    found[side].append(seconds)
                    yield f"{side}, {name}, seconds", number, seconds
        for side in SIDES[1:]:
            ratios = np.divide(found[side], found["plain"])
            for number, ratio in enumerate(ratios):
                yield f"{side}, {name}, to plain", number, ratio
            median = statistics.median(ratios)
            yield f"{side}, {name}, to plain, median", 0, median


def turn(number):
    """The sides in the order of a round: each is the first in its turn."""
    first = number % len(SIDES)
    return SIDES[first:] + SIDES[:first]


def timed(model, x, y, batch_size, side):
    """Seconds of a step, the mean over all epochs but the first.

    The first epoch has Keras's own traces. The masks are updated from the
    third epoch to the seventh, as often as in any run of this length: all of
    it, the first update with what it traces too, is in what is timed.
    """
    steps = math.ceil(len(y) / batch_size)
    # The model has trained before, and schedules count all of its steps.
    first = int(model.optimizer.iterations)
    usual = over_run(0.8, first, first + EPOCHS * steps)
    schedule = PolynomialSparsity(
        0.8, first + 2 * steps, first + 7 * steps, usual.frequency
    )
    callbacks = []
    if side != "plain":
        callbacks = [kbig.compression.Pruner(schedule, method=side)]
    model.train_function = None
    return step_seconds(model, x, y, batch_size, EPOCHS, callbacks)


def step_seconds(model, x, y, batch_size, epochs, callbacks=()) -> float:
    """Seconds of a step, the mean over all epochs but the first.

    From the begin of an epoch's first step to the end of its last: between
    epochs tf.data waits for its own threads, up to a second.
    """
    begun, ended = {}, {}

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            begun.setdefault(self.epoch, time.perf_counter())

        def on_train_batch_end(self, batch, logs=None):
            ended[self.epoch] = time.perf_counter()

    model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, Clock()],
    )
    steps = math.ceil(len(y) / batch_size)
    seconds = sum(ended[epoch] - begun[epoch] for epoch in range(1, epochs))
    return seconds / ((epochs - 1) * steps)


def idx_files(directory, name):
    """Images `(n, 28, 28, 1)` in [0, 1] and labels of one of the two sets.

    Scaled here: TFMOT refuses to prune a model with a Rescaling layer.
    """
    with gzip.open(directory / f"{name}-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(directory / f"{name}-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    return x.reshape(-1, 28, 28, 1) / np.float32(255), y.astype("int32")


if __name__ == "__main__":
    main()
