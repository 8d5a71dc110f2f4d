"""The sides of `finetuning_speed.py` and `inference.py`, as `turns.py` has it.

Each takes the same texts, but kbig leaves out what does not fill a batch. The
seconds are those from the end of the first batch to the end of the last, the
tokens what was not padding.
"""

import os
import time
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pretraining_sides
import turns

import kbig

STOCK = pretraining_sides.STOCK
RUNTIMES = pretraining_sides.RUNTIMES
TORCH = ("torch-float32", "torch-bfloat16")
SIDES = (*RUNTIMES, *TORCH)


def batches(name, options):
    """Inputs and labels of every batch, each as the side's users have them.

    KerasHub's preprocessor pads to one length; Hugging Face's collator to the
    longest of a batch, and kbig puts what is as long into a batch.
    """
    dataset = kbig.data.load(options.data)
    texts, labels = dataset.arrays("train")
    vocabulary = kbig.data.train_vocabulary(list(texts), 8000)
    tokenizer = kbig.data.tokenizer(vocabulary)
    count = options.batch_size * options.total
    chosen = np.random.default_rng(0).choice(len(texts), count, replace=False)
    texts, labels = texts[chosen], labels[chosen]
    if name.startswith("kbig") and not options.full_rows:
        found = kbig.data.bucketed_batches(
            texts,
            labels,
            options.batch_size,
            tokenizer,
            options.sequence_length,
            shuffle=True,
            drop_remainder=True,
        )
        return list(found.as_numpy_iterator()), len(vocabulary)
    rows = kbig.data.encode(texts, tokenizer, options.sequence_length)
    rows = {key: np.asarray(value) for key, value in rows.items()}
    if options.full_rows:
        rows = _full(rows, len(vocabulary))
    pieces = [
        ({key: value[at] for key, value in rows.items()}, labels[at])
        for at in np.split(np.arange(count), options.total)
    ]
    if name in TORCH:
        pieces = [(_cut(inputs), y) for inputs, y in pieces]
    return pieces, len(vocabulary)


def _full(rows, vocabulary_size):
    random = np.random.default_rng(0)
    ids = random.integers(5, vocabulary_size, rows["token_ids"].shape)
    ones = np.ones_like(rows["padding_mask"])
    return {**rows, "token_ids": np.int32(ids), "padding_mask": ones}


def _cut(inputs):
    longest = inputs["padding_mask"].sum(1).max()
    return {key: value[:, :longest] for key, value in inputs.items()}


def keras_side(name, options, vocabulary_size):
    """A function that trains, or predicts, a few batches."""
    import keras
    import keras_hub

    runtime = kbig.training.Runtime(**RUNTIMES[name])
    with runtime.scope():
        backbone = kbig.models.bert(options.size, vocabulary_size)
        model = (
            keras_hub.models.BertTextClassifier(
                backbone, options.classes, preprocessor=None
            )
            if name in STOCK
            else kbig.models.bert_classifier(backbone, options.classes)
        )
    pretraining_sides.CONTEXTS.enter_context(runtime.scope())
    pretraining_sides.CONTEXTS.enter_context(runtime.fusing(model))
    model.compile(
        keras.optimizers.AdamW(1e-4, weight_decay=0.01)
        if name in STOCK
        else kbig.training.adamw(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=runtime.jit_compile,
    )

    def work(pieces):
        clock = pretraining_sides.make_clock(len(pieces))
        stream = _stream(pieces)
        if options.trains:
            model.fit(
                stream,
                steps_per_epoch=len(pieces),
                callbacks=[clock],
                verbose=0,
                shuffle=False,
            )
        else:
            model.predict(
                stream.map(lambda x, y: x), callbacks=[clock], verbose=0
            )
        return clock.seconds

    return work


def _stream(pieces):
    import tensorflow as tf

    inputs, _ = pieces[0]
    integers = tf.TensorSpec((None, None), "int32")
    return tf.data.Dataset.from_generator(
        lambda: iter(pieces),
        output_signature=(
            dict.fromkeys(inputs, integers),
            tf.TensorSpec((None,), "int32"),
        ),
    ).prefetch(2)


def torch_side(name, options, vocabulary_size):
    """The same of Hugging Face's."""
    import torch
    import transformers

    size = types.SimpleNamespace(**options.size)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = transformers.BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=size.hidden_dim,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        intermediate_size=4 * size.hidden_dim,
        num_labels=options.classes,
    )
    model = transformers.BertForSequenceClassification(config)
    model.train(options.trains)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, weight_decay=0.01, fused=True
    )
    is_bfloat16 = "bfloat16" in name
    if is_bfloat16 and not options.trains:
        model = model.to(torch.bfloat16)

    def batch_of(inputs, y):
        tensors = pretraining_sides.as_torch(inputs)
        return {
            **pretraining_sides.arguments_of(tensors),
            "labels": torch.from_numpy(np.array(y)).long(),
        }

    def step(batch):
        if not options.trains:
            with torch.inference_mode():
                return model(**batch).logits.float().numpy()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            loss = model(**batch).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    def work(pieces):
        found = [batch_of(*piece) for piece in pieces]
        step(found[0])
        begin = time.perf_counter()
        for batch in found[1:]:
            step(batch)
        return time.perf_counter() - begin

    return work


def prepare(name, options):
    """A side's answers."""
    pieces, vocabulary_size = batches(name, options)
    make = torch_side if name in TORCH else keras_side
    work = make(name, options, vocabulary_size)

    def answer(first, steps):
        chosen = pieces[first : first + steps]
        masks = [inputs["padding_mask"] for inputs, _ in chosen[1:]]
        tokens = sum(int(mask.sum()) for mask in masks)
        return {"seconds": work(chosen), "tokens": tokens}

    return answer


if __name__ == "__main__":
    turns.serve(prepare)
