"""Half the operations: how fast is that in LiteRT, and what does it cost?

python benchmarks/shrinking.py images --data /usr/share/datasets/fashion-mnist
python benchmarks/shrinking.py texts --run runs/minilm --limit 3000

The models of pruning.py: trained, shrunk to a share of their FLOPs by
`kbig.compression.shrink`, and trained on; the control is trained on as long.
Of a seed both start from the same weights.

Latencies are those of float32 LiteRT files, in turns in one process: of every
seed's shrunk model beside its control, and first of models that have learnt
nothing. With --seeds 0 only these are measured.
"""

import argparse
import json
import pathlib
import statistics
import tempfile

import keras
import numpy as np
import pruning

import kbig


def main():
    options = parsed_options()
    model, train, test = {"images": images, "texts": texts}[options.what](
        options
    )
    plan = kbig.compression.plan_shrink(
        model(), flops=options.flops, multiple=options.multiple
    )
    print(plan)
    report = latency(model(), plan.apply(), options)
    print(report)
    results = {
        "untrained ratio": report.ratio,
        "ratio": [],
        "control": [],
        "shrunk": [],
    }
    for seed in range(options.seeds):
        trained = {}
        for side in ("control", "shrunk"):
            trained[side] = one_side(side, seed, model, train, options)
            results[side].append(test(trained[side]))
            print(side, seed, results[side][-1], flush=True)
        report = latency(trained["control"], trained["shrunk"], options)
        results["ratio"].append(report.ratio)
        print("ratio", seed, report.ratio, flush=True)
        options.out.write_text(json.dumps(results, indent=2))
    if options.seeds:
        rows = [
            (
                side,
                np.mean(results[side]),
                np.std(results[side], ddof=options.seeds > 1),
            )
            for side in ("control", "shrunk")
        ]
        columns = ("side", "accuracy", "standard deviation")
        ratio = statistics.median(results["ratio"])
        note = f"latency, shrunk / control: {ratio:.3f}, the median of seeds"
        table = kbig.reporting.Table("Shrinking", columns, rows, note)
        kbig.reporting.show(table)


def one_side(side, seed, model, train, options):
    """Trained, shrunk unless it is the control, and trained on."""
    # The first weights are the seed's, so that they are the same on each side.
    keras.utils.set_random_seed(seed)
    after = train(model(), seed, options.epochs)
    if side == "shrunk":
        after = kbig.compression.shrink(
            after, flops=options.flops, multiple=options.multiple
        )
    return train(after, seed + 1000, options.epochs)


def parsed_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("images", "texts"))
    parser.add_argument("--data", type=pathlib.Path, help="of images")
    parser.add_argument("--run", help="of finetune, for texts")
    parser.add_argument("--flops", type=float, default=0.5)
    parser.add_argument("--multiple", type=int, default=16, help="of units")
    parser.add_argument("--limit", type=int, default=0, help="training rows")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--length", type=int, default=32, help="of a text")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    pruning.add_xla(parser)
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("shrinking.json")
    )
    return parser.parse_args()


def images(options):
    """How the model is made, trained and tested."""
    x, y = pruning.idx_files(options.data, "train")
    test_x, test_y = pruning.idx_files(options.data, "t10k")

    def train(model, seed, epochs):
        keras.utils.set_random_seed(seed)
        rows = np.random.default_rng(seed).permutation(len(x))
        rows = rows[: options.limit or None]
        model.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        model.fit(x[rows], y[rows], batch_size=64, epochs=epochs, verbose=0)
        return model

    def test(model):
        logits = model.predict(test_x, batch_size=256, verbose=0)
        return float((logits.argmax(-1) == test_y).mean())

    return pruning.residual_cnn, train, test


def texts(options):
    """Likewise; the run is trained already."""
    run = kbig.runs.Run.open(options.run)
    dataset = kbig.data.load(run.config["data"])

    def train(model, seed, epochs):
        if seed < 1000:
            return model
        return pruning.trained_on_texts(
            run, model, dataset, None, seed, options
        )

    def test(model):
        return pruning.accuracy_of_texts(run, model, dataset.arrays("test"))

    return run.load_model, train, test


def latency(model, smaller, options):
    """Of both as LiteRT files; texts have a fixed length."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [
            pathlib.Path(directory) / f"{name}.tflite"
            for name in ("shrunk", "whole")
        ]
        for each, path in zip((smaller, model), paths):
            kbig.export.litert(each, path, samples=samples(each, options))
        return kbig.export.latency_ratio(*paths, rounds=100)


def samples(model, options):
    """A row, which fixes the dimensions that the model leaves free."""
    if not options.run:
        return np.random.default_rng(0).random((1, 28, 28, 1), np.float32)
    return {x.name: np.ones((1, options.length), "int32") for x in model.inputs}


if __name__ == "__main__":
    main()
