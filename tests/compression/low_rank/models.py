"""Models whose matrices have an exact low rank, to lose nothing of."""

import numpy as np

from kbig import models
from kbig.compression.low_rank.kinds import kind_of
from kbig.compression.low_rank.sites import sites

BATCH = 4
IMAGES = np.random.default_rng(0).random((BATCH, 8, 8, 1)).astype("float32")
FEATURES = np.random.default_rng(1).normal(size=(BATCH, 6, 12))
TOKENS = np.random.default_rng(2).integers(1, 40, (BATCH, 6))
TOKENS[:, 4:] = 0
BERT_INPUTS = {
    "token_ids": TOKENS,
    "segment_ids": np.zeros_like(TOKENS),
    "padding_mask": (TOKENS != 0).astype("int32"),
}
MASKED_INPUTS = {**BERT_INPUTS, "mask_positions": np.tile([1, 3], (BATCH, 1))}
INSIDE = (
    "self_attention_layer/query",
    "self_attention_layer/key",
    "self_attention_layer/value",
    "self_attention_layer/attention_output",
    "feedforward_intermediate_dense",
    "feedforward_output_dense",
)


def bert(**options):
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    return models.bert({**size, "max_sequence_length": 8, **options}, 40)


def encoder(name):
    return [f"{name}/{inside}" for inside in INSIDE]


# What builds it, its input, and the layers that rank 2 makes smaller.
BUILDERS = {
    "mlp": (
        lambda: models.mlp((8, 8, 1), 10, hidden_dims=(32, 16)),
        IMAGES,
        ["hidden_0", "hidden_1", "logits"],
    ),
    "cnn": (
        lambda: models.cnn((8, 8, 1), 10, filters=(4, 8)),
        IMAGES,
        ["logits"],
    ),
    "rnn": (
        lambda: models.rnn(
            num_outputs=10,
            cell="gru",
            vocabulary_size=40,
            embedding_dim=16,
            units=(8,),
            bidirectional=True,
        ),
        TOKENS,
        ["embedding", "outputs"],
    ),
    "forecaster": (
        lambda: models.forecaster((6, 12), 10, units=(8,), scale=0.5),
        FEATURES,
        ["rnn/outputs", "linear"],
    ),
    "transformer-tokens": (
        lambda: models.transformer(
            10, vocabulary_size=40, hidden_dim=16, num_layers=1, max_length=8
        ),
        TOKENS,
        ["embedding", *encoder("encoder_0"), "logits"],
    ),
    "transformer-features": (
        lambda: models.transformer(
            10, input_shape=(6, 12), hidden_dim=16, num_layers=2
        ),
        FEATURES,
        [
            "projection",
            *encoder("encoder_0"),
            *encoder("encoder_1"),
            "logits",
        ],
    ),
    "bert_classifier": (
        lambda: models.bert_classifier(bert(activation="gelu"), 10),
        BERT_INPUTS,
        [
            "token_embedding",
            *encoder("transformer_layer_0"),
            "pooled_dense",
            "logits",
        ],
    ),
    "bert_token_classifier": (
        lambda: models.bert_token_classifier(bert(), 10),
        BERT_INPUTS,
        ["token_embedding", *encoder("transformer_layer_0"), "logits"],
    ),
    "bert_masked_lm": (
        lambda: models.bert_masked_lm(bert()),
        MASKED_INPUTS,
        ["token_embedding", *encoder("transformer_layer_0")],
    ),
}


def of_low_rank(model, rank=2, scale=0.3):
    """Gives every matrix that rank, and every other weight something to do."""
    generator = np.random.default_rng(3)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "output_bias"):
            weight.assign(generator.normal(size=weight.shape) * 0.1)
    for site in sites(model):
        kind = kind_of(site.layer)
        if kind is None:
            continue
        weight = getattr(site.layer, kind.weight)
        met = 2 if site.name.endswith("attention_output") else 1
        rows = int(np.prod(weight.shape[:met]))
        columns = int(np.prod(weight.shape)) // rows
        left = generator.normal(size=(rows, rank)) * scale
        right = generator.normal(size=(rank, columns))
        weight.assign((left @ right).reshape(weight.shape))
    return model
