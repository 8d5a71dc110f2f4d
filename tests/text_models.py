"""A small model of texts, for tests that export or serve one."""

import keras

from kbig import data
from kbig import export
from kbig import models

TEXTS = ["the cat sat on the mat", "a tree has leaves", "walking and running"]
CLASSES = ("animal", "plant", "act")
LENGTH = 12


def text_classifier(num_layers=1, hidden_dim=32):
    """A classifier of `CLASSES`, its backbone and its tokenizer."""
    keras.utils.set_random_seed(0)
    vocabulary = data.train_vocabulary(TEXTS * 5, 80)
    size = {
        "num_layers": num_layers,
        "hidden_dim": hidden_dim,
        "num_heads": 2,
    }
    backbone = models.bert(size, len(vocabulary))
    model = models.bert_classifier(backbone, 3)
    return model, backbone, data.tokenizer(vocabulary)


def exported(
    model, tokenizer, folder, formats, sequence_length=LENGTH, **options
):
    """What `kbig.export.artefacts` says of a classifier of `CLASSES`."""
    return export.artefacts(
        model,
        folder,
        formats,
        name="topics",
        samples=TEXTS,
        tokenizer=tokenizer,
        sequence_length=sequence_length,
        class_names=CLASSES,
        **options,
    )
