"""Tokens a second of fine-tuning a BERT: kbig, KerasHub, Hugging Face.

python benchmarks/finetuning_speed.py
python benchmarks/finetuning_speed.py --sides kbig kbig-fused kerashub

Real texts at their real lengths, the same for all sides: KerasHub pads them to
`--sequence-length`, Hugging Face to the longest of a batch, and kbig puts what
is as long into a batch. Sides take turns, each a process of its own. Random
weights of MiniLM's size by default. Hugging Face needs torch and transformers
(extra `bench`).
"""

import argparse

import classifier_sides
import turns

from kbig.reporting import show


def main():
    options = parsed(__doc__, batch_size=32, sequence_length=64, data=True)
    show(measured("Fine-tuning", options, trains=True, full_rows=False))


def measured(what, options, trains, full_rows):
    """A table of all sides."""
    settings = {
        "data": options.data,
        "size": {
            "num_layers": options.layers,
            "hidden_dim": options.hidden_dim,
            "num_heads": options.heads,
        },
        "classes": 8,
        "batch_size": options.batch_size,
        "sequence_length": options.sequence_length,
        "total": options.warmup + options.rounds * options.steps,
        "trains": trains,
        "full_rows": full_rows,
    }
    rates, _ = turns.compare(
        classifier_sides.__file__,
        turns.available(options.sides),
        settings,
        options,
    )
    return turns.table(
        f"{what}, {options.layers} x {options.hidden_dim}, batch "
        f"{options.batch_size}",
        rates,
        classifier_sides.STOCK,
        f"{options.rounds} rounds of {options.steps} batches; at most "
        f"{options.sequence_length} tokens a row; ratios to KerasHub's better.",
    )


def parsed(description, batch_size, sequence_length, data=False):
    """The command line, of `inference.py` too."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(data="wordnet-topics")
    if data:
        parser.add_argument("--data", help="8 classes of texts")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden-dim", type=int, default=384)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--sequence-length", type=int, default=sequence_length)
    parser.add_argument("--steps", type=int, default=16, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=48)
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=classifier_sides.SIDES,
        default=[
            name
            for name in classifier_sides.SIDES
            if not name.startswith("kbig-")
        ],
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
