"""Tokens a second of a BERT's `predict`: kbig, KerasHub, Hugging Face.

python benchmarks/inference.py

Full rows of 128 tokens. Sides take turns, each a process of its own. Random
weights of MiniLM's size by default. Hugging Face needs torch and transformers
(extra `bench`).
"""

import finetuning_speed

from kbig.reporting import show


def main():
    options = finetuning_speed.parsed(
        __doc__, batch_size=64, sequence_length=128
    )
    show(
        finetuning_speed.measured(
            "Inference", options, trains=False, full_rows=True
        )
    )


if __name__ == "__main__":
    main()
