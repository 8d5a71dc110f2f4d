"""A BERT classifier small enough to count by hand."""

import keras
import numpy as np

from kbig import models
from kbig.tuning.structure import weight_names

WIDTH, HEADS, CLASSES, VOCABULARY = 16, 4, 3, 20
SIZE = {"num_layers": 2, "hidden_dim": WIDTH, "num_heads": HEADS}


def classifier(seed=0, num_classes=CLASSES, pooling="cls", **options):
    """Of weights large enough that every layer makes a difference."""
    keras.utils.set_random_seed(seed)
    backbone = models.bert({**SIZE, **options}, VOCABULARY)
    model = models.bert_classifier(backbone, num_classes, pooling=pooling)
    for pattern in ("kernel", "embeddings"):
        randomize(model, pattern, 0.3, seed)
    return model


def rows(count=8, steps=6):
    generator = np.random.default_rng(0)
    inputs = {
        "token_ids": generator.integers(0, VOCABULARY, (count, steps)),
        "segment_ids": np.zeros((count, steps)),
        "padding_mask": np.ones((count, steps)),
    }
    inputs = {key: value.astype("int32") for key, value in inputs.items()}
    return inputs, generator.integers(0, CLASSES, count)


def compiled(model, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, **options)
    return model


def trained(model, steps=2):
    compiled(model, run_eagerly=True)
    inputs, labels = rows()
    for _ in range(steps):
        model.train_on_batch(inputs, labels)
    return model


def values(model):
    return {name: x.numpy() for name, x in weight_names(model).items()}


def randomize(model, pattern, deviation=0.3, seed=1):
    """Gives the weights whose names have the pattern something to do."""
    generator = np.random.default_rng(seed)
    for name, variable in weight_names(model).items():
        if pattern in name:
            value = generator.normal(0, deviation, variable.shape)
            variable.assign(value)
