"""The sides of `pretraining.py`: each trains in a process of its own.

Started by it, as `turns.py` has it. The seconds are those from the end of the
first step to the end of the last, the tokens what was not padding.
"""

import contextlib
import os
import time
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import turns

import kbig

# Left when the process ends: where one is left, what was traced is forgotten.
CONTEXTS = contextlib.ExitStack()
STOCK = ("kerashub", "kerashub-jit")
# "kbig" is what `kbig pretrain-mlm` chooses; the next are what it could.
_AS_KERAS = {"precision": "float32", "fused": False}
RUNTIMES = {
    "kbig": {},
    "kbig-fused": {"precision": "float32", "fused": True},
    "kbig-bfloat16": {"precision": "onednn_bfloat16", "fused": False},
    "kbig-float32": {**_AS_KERAS, "xla": False},
    "kbig-xla": {**_AS_KERAS, "xla": True},
    "kerashub": {**_AS_KERAS, "xla": False},
    "kerashub-jit": {**_AS_KERAS, "xla": True},
}


def keras_side(name, options):
    """Compiles kbig's or KerasHub's model; a function that trains it."""
    import keras

    runtime = kbig.training.Runtime(**RUNTIMES[name])
    with runtime.scope():
        model = _keras_model(name, options)
    CONTEXTS.enter_context(runtime.scope())
    CONTEXTS.enter_context(runtime.fusing(model))
    model.compile(
        keras.optimizers.AdamW(1e-4, weight_decay=0.01)
        if name in STOCK
        else kbig.training.adamw(1e-4),
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        jit_compile=runtime.jit_compile,
    )

    def train(stream, steps):
        clock = make_clock(steps)
        history = model.fit(
            stream,
            steps_per_epoch=steps,
            callbacks=[clock],
            verbose=0,
            shuffle=False,
        ).history
        return clock.seconds, history["loss"][-1]

    return train


def _keras_model(name, options):
    import keras_hub

    backbone = kbig.models.bert(options.size, options.vocabulary_size)
    if name in STOCK:
        return keras_hub.models.BertMaskedLM(backbone, preprocessor=None)
    model = kbig.models.bert_masked_lm(backbone)
    is_packed = options.mode == "paragraphs"
    return kbig.models.packed(model) if is_packed else model


def make_clock(steps):
    """Measures from the end of the first step to the end of the last."""
    import keras

    class _Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch in (0, steps - 1):
                float(logs["loss"])  # A GPU is done only once this is there.
            self.note(batch)

        def on_predict_batch_end(self, batch, logs=None):
            self.note(batch)

        def note(self, batch):
            if batch == 0:
                self.begin = time.perf_counter()
            if batch == steps - 1:
                self.seconds = time.perf_counter() - self.begin

    return _Clock()


def torch_side(name, options):
    """Builds Hugging Face's model; a function that trains it."""
    import torch
    import transformers

    size = types.SimpleNamespace(**options.size)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = transformers.BertConfig(
        vocab_size=options.vocabulary_size,
        hidden_size=size.hidden_dim,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        intermediate_size=4 * size.hidden_dim,
        max_position_embeddings=512,
    )
    model = transformers.BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, weight_decay=0.01, fused=True
    )
    bfloat16 = "bfloat16" in name
    loss_of = _loss_at_masked if name.endswith("-masked") else _loss_of_all

    def step(batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = loss_of(model, *batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    def train(stream, steps):
        batches = [_torch_batch(batch) for batch in stream.take(steps)]
        step(batches[0])
        begin = time.perf_counter()
        for batch in batches[1:]:
            loss = step(batch)
        value = loss.item()
        return time.perf_counter() - begin, value

    return train


def _torch_batch(batch):
    import torch

    inputs, labels, weights = batch
    tensors = as_torch(inputs)
    labels = torch.from_numpy(np.array(labels)).long()
    return tensors, labels.masked_fill(
        torch.from_numpy(np.array(weights)) == 0, -100
    )


def as_torch(inputs):
    """PyTorch's tensors of the inputs of a model of Keras."""
    import torch

    return {
        name: torch.from_numpy(np.array(value)).long()
        for name, value in inputs.items()
    }


def arguments_of(inputs):
    """Hugging Face's names for them."""
    return {
        "input_ids": inputs["token_ids"],
        "token_type_ids": inputs["segment_ids"],
        "attention_mask": inputs["padding_mask"],
    }


def _loss_of_all(model, inputs, labels):
    """As transformers does it: logits of every position."""
    import torch

    everywhere = torch.full_like(inputs["token_ids"], -100)
    # Absent predictions stand at position 0, which nothing is predicted at.
    everywhere.scatter_(1, inputs["mask_positions"], labels)
    return model(**arguments_of(inputs), labels=everywhere).loss


def _loss_at_masked(model, inputs, labels):
    """The head on the masked positions only."""
    import torch

    hidden = model.bert(**arguments_of(inputs)).last_hidden_state
    index = inputs["mask_positions"].unsqueeze(-1)
    hidden = hidden.gather(1, index.expand(-1, -1, hidden.shape[-1]))
    return torch.nn.functional.cross_entropy(
        model.cls(hidden).flatten(0, 1), labels.flatten(), ignore_index=-100
    )


SIDES = {
    **dict.fromkeys(RUNTIMES, keras_side),
    "torch-float32": torch_side,
    "torch-bfloat16": torch_side,
    "torch-bfloat16-masked": torch_side,
}


def batches_of(name, options):
    """A function from the first step to the side's batches."""
    kind = "packed" if name.startswith("kbig") else "plain"
    groups = {}
    with np.load(options.rows) as stored:
        vocabulary = list(stored["vocabulary"])
        for key in stored.files:
            if key.startswith(kind):
                group, _, part = key.partition(" ")
                groups.setdefault(group, {})[part] = stored[key]
    groups = list(groups.values())

    def stream(first_step):
        return kbig.data.mixed_batches(
            groups,
            options.batch_size,
            vocabulary_size=len(vocabulary),
            mask_id=vocabulary.index("[MASK]"),
            special_ids=[
                vocabulary.index(token) for token in kbig.data.SPECIAL_TOKENS
            ],
            max_predictions=options.num_predictions,
            pad_id=vocabulary.index("[PAD]"),
            training=True,
            first_step=first_step,
        )

    return stream


def tokens_of(stream, steps):
    """Real tokens of the steps that are timed: all but the first."""
    masks = (inputs["padding_mask"] for inputs, *_ in stream.take(steps))
    return sum(int(np.sum(mask)) for mask in list(masks)[1:])


def prepare(name, options):
    """A side's answers: seconds, real tokens and the last loss."""
    stream = batches_of(name, options)
    train = SIDES[name](name, options)

    def work(first_step, steps):
        tokens = tokens_of(stream(first_step), steps)
        seconds, loss = train(stream(first_step), steps)
        return {"seconds": seconds, "tokens": tokens, "loss": loss}

    return work


if __name__ == "__main__":
    turns.serve(prepare)
