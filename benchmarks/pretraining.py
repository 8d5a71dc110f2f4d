"""Tokens a second of BERT's pretraining: kbig, KerasHub, Hugging Face.

python benchmarks/pretraining.py
python benchmarks/pretraining.py --mode paragraphs --sequence-length 512

The same text (Austen), sizes, batches and masked positions for all sides.
Each side is a process of its own, warmed up; they take turns, never two at
once, for `--rounds` rounds of `--steps` steps. The default takes 15 minutes
on 2 CPU cores. Hugging Face needs torch and transformers (extra `bench`).

Mode "rows": every row is full. Mode "paragraphs": a row is one paragraph,
padded or cut; kbig packs several into a row (`kbig.models.packed`), and has
shorter rows beside (`kbig.data.pack_by_length`).
"""

import argparse
import json
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matmul_peak
import numpy as np
import pretraining_sides
import turns

import kbig
from kbig.reporting.tables import Percent

PREDICTIONS_PER_TOKEN = 20 / 128


def prepare(options, path):
    """Tokenizes once, and writes the rows of both kinds for the sides.

    Returns the size of the vocabulary, and how many tokens attend to each
    other: the mean over the tokens.
    """
    documents = kbig.data.load("austen").arrays("train")[0]
    vocabulary = kbig.data.train_vocabulary(
        list(documents), options.vocabulary_size
    )
    tokenizer = kbig.data.tokenizer(vocabulary)
    paragraphs = [p for text in documents for p in text.split("\n")]
    ids = kbig.data.tokenize(paragraphs, tokenizer)
    texts = np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])
    texts = [text for text in texts if len(text)]
    special = {
        "cls_id": tokenizer.cls_token_id,
        "sep_id": tokenizer.sep_token_id,
        "pad_id": tokenizer.pad_token_id,
    }
    length = options.sequence_length
    if options.mode == "rows":
        full = kbig.data.pack_documents([texts], length, **special)[:-1]
        plain = {"token_ids": full}
        packed = (plain,)
    else:
        packed = kbig.data.pack_by_length(texts, length, **special)
        padded = np.full((len(texts), length), special["pad_id"], np.int32)
        for row, text in zip(padded, texts):
            cut = [special["cls_id"], *text[: length - 2], special["sep_id"]]
            row[: len(cut)] = cut
        plain = {"token_ids": padded}
    np.savez(
        path,
        vocabulary=np.array(vocabulary),
        **{
            f"{kind}_{number} {name}": value
            for kind, groups in (("packed", packed), ("plain", (plain,)))
            for number, rows in enumerate(groups)
            for name, value in rows.items()
        },
    )
    if options.mode == "rows":
        return len(vocabulary), length
    sizes = np.array([min(len(text), length - 2) + 2 for text in texts])
    return len(vocabulary), round((sizes**2).sum() / sizes.sum())


def table_of(rates, losses, flops, peaks, options):
    """Medians, ratios to KerasHub's better setting, share of the peak."""
    peak = 1e9 * max(peaks.values())
    measured = ", ".join(f"{k} {v:.0f}" for k, v in peaks.items())
    return turns.table(
        f"Pretraining, {options.mode} of {options.sequence_length}, batch "
        f"{options.batch_size}, {options.layers} x {options.hidden_dim}",
        rates,
        pretraining_sides.STOCK,
        f"{options.rounds} rounds of {options.steps} steps; "
        f"{flops / 1e6:.1f} MFLOP a token; matmul peak in GFLOP/s: "
        f"{measured}; shares are of the highest.",
        of_matmul_peak={
            name: Percent(median * flops / peak)
            for name, median in turns.medians(rates).items()
        },
        last_loss=losses,
    )


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode", choices=("rows", "paragraphs"), default="rows"
    )
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden-dim", type=int, default=384)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--vocabulary-size", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=11, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument(
        "--peak-size",
        type=int,
        default=2048,
        help="of the square matrices of the peak; a GPU needs 8192",
    )
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=tuple(pretraining_sides.SIDES),
        default=[
            name
            for name in pretraining_sides.SIDES
            if not name.startswith("kbig-")
        ],
    )
    parser.add_argument("--json", help="file for every number")
    return parser.parse_args()


def main():
    """Prepares, lets the sides take turns, prints."""
    options = parse()
    peaks = {
        f"{dtype} ({framework})": value
        for dtype, _, *values in matmul_peak.measure([options.peak_size], 1.0)
        for framework, value in zip(("TensorFlow", "PyTorch"), values)
        if value is not None
    }
    with tempfile.TemporaryDirectory() as directory:
        rows = pathlib.Path(directory, "rows.npz")
        vocabulary_size, attended = prepare(options, rows)
        num_predictions = round(PREDICTIONS_PER_TOKEN * options.sequence_length)
        settings = {
            "mode": options.mode,
            "size": {
                "num_layers": options.layers,
                "hidden_dim": options.hidden_dim,
                "num_heads": options.heads,
            },
            "vocabulary_size": vocabulary_size,
            "num_predictions": num_predictions,
            "batch_size": options.batch_size,
            "rows": str(rows),
        }
        rates, answers = turns.compare(
            pretraining_sides.__file__,
            turns.available(options.sides),
            settings,
            options,
        )
        losses = {name: answers[name]["loss"] for name in answers}
    flops = kbig.training.bert_training_flops(
        options.layers,
        options.hidden_dim,
        attended,
        vocabulary_size,
        PREDICTIONS_PER_TOKEN * attended,
    )
    print(table_of(rates, losses, flops, peaks, options))
    if options.json:
        text = json.dumps({**vars(options), "rates": rates, "peaks": peaks})
        pathlib.Path(options.json).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
