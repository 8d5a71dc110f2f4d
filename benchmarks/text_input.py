"""Measures text input: tokenizing and sharding, and masking while training.

python benchmarks/text_input.py

Needs nothing but kbig. Takes about two minutes on 2 CPU cores.

First: one process of kbig against one thread of Hugging Face `tokenizers`
(`encode_batch_fast`) that write the same ids of the same documents to the same
kind of file, in turns; MB of text a second of CPU time. Then: the share of the
CPU time of training a tiny BERT that `masked_batches` takes.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
import tokenizers

import kbig
from kbig.data.shard_files import read_records
from kbig.reporting import Percent
from kbig.reporting import Ratio
from kbig.reporting import Seconds
from kbig.reporting import Table
from kbig.reporting import show

_PER_SHARD = 512
_BYTES = 7_000_000  # Of text, so that what starts up does not count much.
_MASKINGS = ("token", "whole-word", "span")


def corpora() -> dict[str, list[str]]:
    """Documents by name: novels, and short texts with some accents."""
    novels, _ = kbig.data.load("austen").arrays("train")
    glosses, _ = kbig.data.load("wordnet-topics").arrays("train")
    return {
        "austen": list(novels),
        "wordnet-topics": ["\n".join(glosses[i::200]) for i in range(200)],
        "austen, in typographic quotes": [
            text.replace('"', "”").replace("'", "’") for text in novels
        ],
    }


def hugging_face(vocabulary) -> tokenizers.Tokenizer:
    """BERT's tokenizer as Hugging Face has it."""
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            {token: index for index, token in enumerate(vocabulary)},
            unk_token="[UNK]",
            max_input_chars_per_word=100,
        )
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def write_with_hugging_face(documents, directory, tokenizer) -> None:
    """Writes the files that `write_shards` writes, but for the index."""
    for number, begin in enumerate(range(0, len(documents), _PER_SHARD)):
        path = directory / f"shard-{number:05d}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for document in documents[begin : begin + _PER_SHARD]:
                encodings = tokenizer.encode_batch_fast(
                    document.split("\n"), add_special_tokens=False
                )
                ids = [np.array(e.ids, "<u2") for e in encodings]
                ids = [paragraph for paragraph in ids if len(paragraph)]
                sizes = [len(ids), *map(len, ids)]
                header = np.array(sizes, "<u4").tobytes()
                writer.write(header + b"".join(map(bytes, ids)))


def compare_sharding(name: str, documents: list[str], rounds: int) -> tuple:
    """One row of the first table."""
    paragraphs = "\n".join(documents).split("\n")
    vocabulary = kbig.data.train_vocabulary(paragraphs, 8000)
    tokenizer = hugging_face(vocabulary)
    size = sum(len(text.encode()) for text in documents)
    repeats = max(1, _BYTES // size)
    documents = documents * repeats
    megabytes = size * repeats / 1e6
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = (pathlib.Path(scratch, side) for side in ("a", "b"))
        theirs.mkdir()

        def kbig_writes():
            kbig.data.write_shards(
                documents,
                ours,
                vocabulary,
                lowercase=True,
                processes=1,
                documents_per_shard=_PER_SHARD,
                resume=False,
            )

        def hugging_face_writes():
            write_with_hugging_face(documents, theirs, tokenizer)

        seconds = alternated((kbig_writes, hugging_face_writes), rounds)
        differ = _share_that_differs(ours, theirs)
    rates = [megabytes / taken for taken in seconds]
    return (name, megabytes, *rates, Ratio(rates[0] / rates[1]), differ)


def alternated(contestants, rounds: int) -> list[float]:
    """Medians of the CPU seconds of each, run in turns after a warm-up."""
    taken = [[] for _ in contestants]
    for round_number in range(rounds + 1):
        for times, contestant in zip(taken, contestants):
            started = time.process_time()
            contestant()
            if round_number:
                times.append(time.process_time() - started)
    return [statistics.median(times) for times in taken]


def _share_that_differs(ours, theirs) -> Percent:
    differ = [
        [ids.tolist() for ids in one] != [ids.tolist() for ids in other]
        for one, other in zip(_documents(ours), _documents(theirs), strict=True)
    ]
    return Percent(sum(differ) / len(differ))


def _documents(directory):
    for file in sorted(directory.glob("*.tfrecord")):
        yield from read_records(file, "uint16")


def compare_masking(steps: int) -> list[tuple]:
    """Rows of the second table: input against training of a tiny BERT."""
    documents, _ = kbig.data.load("austen").arrays("validation")
    vocabulary = kbig.data.train_vocabulary(documents, 8000)
    tokenizer = kbig.data.tokenizer(vocabulary)
    paragraphs = "\n".join(documents).split("\n")
    ids = kbig.data.tokenize(paragraphs, tokenizer)
    rows = kbig.data.pack_documents(
        [np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])],
        128,
        cls_id=tokenizer.cls_token_id,
        sep_id=tokenizer.sep_token_id,
        pad_id=tokenizer.pad_token_id,
    )
    model = kbig.models.bert_masked_lm(
        kbig.models.bert("tiny", len(vocabulary))
    )
    model.compile(
        kbig.training.adamw(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return [
        (masking, *_masking_shares(model, rows, vocabulary, masking, steps))
        for masking in _MASKINGS
    ]


def _masking_shares(model, rows, vocabulary, masking, steps):
    """CPU seconds a step of the input alone and of training, and the share."""
    stream = kbig.data.masked_batches(
        rows,
        32,
        vocabulary_size=len(vocabulary),
        mask_id=vocabulary.index("[MASK]"),
        special_ids=range(5),
        max_predictions=20,
        masking=masking,
        continues=kbig.data.continuing_pieces(vocabulary),
        training=True,
    )
    batches = iter(stream)
    next(batches)

    def drain():
        for _ in range(steps):
            next(batches)

    def train():
        model.fit(stream, steps_per_epoch=steps, verbose=0, shuffle=False)

    seconds, training = (t / steps for t in alternated((drain, train), 3))
    return Seconds(seconds), Seconds(training), Percent(seconds / training)


def main() -> None:
    """Runs both comparisons and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    show(
        Table(
            "Tokenizing and sharding, one core",
            (
                "corpus",
                "MB",
                "kbig MB/s",
                "Hugging Face MB/s",
                "ratio",
                "documents with other ids",
            ),
            [
                compare_sharding(name, documents, arguments.rounds)
                for name, documents in corpora().items()
            ],
            note="MB of text a second of CPU time, median of "
            f"{arguments.rounds} rounds in turns.",
        ),
        Table(
            "Masking while training BERT tiny, 32 x 128",
            ("masking", "input, a step", "training, a step", "share"),
            compare_masking(arguments.steps),
            note="CPU time of all threads; training contains its input.",
        ),
    )


if __name__ == "__main__":
    main()
