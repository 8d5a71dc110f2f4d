"""BERT from a Hugging Face directory: config.json and safetensors files."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np

from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.models import hugging_face_names as names
from kbig.models.arguments import check_positive
from kbig.models.bert import bert
from kbig.models.bert_heads import bert_masked_lm
from kbig.models.hugging_face_config import ACTIVATIONS
from kbig.models.hugging_face_config import DEFAULTS
from kbig.models.hugging_face_config import FIXED
from kbig.models.hugging_face_config import SIZES
from kbig.models.hugging_face_files import read_json
from kbig.models.hugging_face_files import some
from kbig.models.hugging_face_files import stored_tensors

if TYPE_CHECKING:
    import keras_hub

_FLOATS = ("F64", "F32", "F16", "BF16")
# The note on a source without one.
NO_POOLER = "It has no pooler: that layer starts at random."
_NOT_WEIGHTS = ("embeddings.position_ids",)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a Hugging Face directory held.

    Args:
        backbone: the encoder, with the weights.
        masked_lm: the pretraining model on that same backbone, None when the
            files hold no head for it.
        notes: a sentence for each thing that the files lack, or that was left
            out.
    """

    backbone: keras_hub.models.BertBackbone
    masked_lm: keras.Model | None
    notes: tuple[str, ...]


def load_hugging_face(directory: str | os.PathLike) -> Checkpoint:
    """Builds a backbone with the weights of a Hugging Face checkpoint.

    It computes the checkpoint's own form of GELU and has its epsilon.

    Args:
        directory: with `config.json` of model type "bert" and
            `model.safetensors`, whole or in parts.

    Returns:
        The backbone, and the masked language model when the checkpoint has
        its head, both under the dtype policy in force.

    Raises:
        UsageError: when the configuration describes another model, or one
            that this backbone cannot compute.
        DataError: when a file is missing or broken, or tensors are missing or
            of another shape; the message names them.

    Example:
    ```python
    checkpoint = load_hugging_face("bert-base-uncased")
    classifier = bert_classifier(checkpoint.backbone, num_classes=3)
    ```
    """
    directory = pathlib.Path(directory)
    sizes, notes = _sizes(directory / "config.json")
    stored = stored_tensors(directory)
    encoder = names.encoder_tensors(sizes)
    pooler = _if_any(names.pooler_tensors(sizes), stored)
    head = _if_any(names.masked_lm_tensors(sizes), stored)
    _check_tensors((*encoder, *pooler, *head), stored, directory)
    if not pooler:
        notes.append(NO_POOLER)
    if head and not _is_tied(stored, encoder[0]):
        head = ()
        notes.append("Its head for masked tokens is not tied, and left out.")
    known = {tensor.name for tensor in (*encoder, *pooler, *head)}
    others = sorted({*stored} - known - {names.DECODER, *_NOT_WEIGHTS})
    if others:
        notes.append(f"Left out of it: {some(others)}.")
    rows = sizes.pop("vocabulary_size")
    backbone = bert(sizes, rows)
    _assign(backbone, (*encoder, *pooler), stored)
    model = bert_masked_lm(backbone) if head else None
    if model is not None:
        _assign(model, head, stored)
    return Checkpoint(backbone, model, tuple(notes))


def _sizes(path: pathlib.Path) -> tuple[dict, list[str]]:
    config = read_json(path)
    if config.get("model_type") != "bert":
        raise UsageError(
            f"{path} describes another model. Expected: model_type 'bert'. "
            f"Received: {config.get('model_type')!r}. Pass a BERT."
        )
    for key, value in FIXED:
        if config.get(key, value) != value:
            raise UsageError(
                f"{path}: only {key}={value!r} can be computed. "
                f"Received: {config[key]!r}. Pass another checkpoint."
            )
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise UsageError(
            f"{path}: hidden_act must be one of {', '.join(ACTIVATIONS)}. "
            f"Received: {activation!r}. Pass another checkpoint."
        )
    missing = [key for key in SIZES if key not in config]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}.")
    for key in SIZES:
        check_positive(key, config[key])
    sizes = {ours: config[theirs] for theirs, ours in SIZES.items()}
    for theirs, (ours, default) in DEFAULTS.items():
        sizes[ours] = config.get(theirs, default)
    sizes["activation"] = ACTIVATIONS[activation]
    rate = config.get("attention_probs_dropout_prob", sizes["dropout"])
    notes = []
    if rate != sizes["dropout"]:
        notes.append(
            f"Its dropout of {sizes['dropout']} serves for attention too, "
            f"which had {rate}."
        )
    return sizes, notes


def _if_any(tensors, stored):
    """A part of the model that the files hold at least a piece of."""
    return tensors if any(x.name in stored for x in tensors) else ()


def _check_tensors(tensors, stored: Mapping, directory: pathlib.Path) -> None:
    missing = [x.name for x in tensors if x.name not in stored]
    if missing:
        raise DataError(
            f"{directory} lacks {len(missing)} of {len(tensors)} tensors that "
            f"its config.json asks for: {some(missing)}."
        )
    wrong = [
        f"{x.name} has {stored[x.name].shape}, expected {x.shape}"
        for x in tensors
        if stored[x.name].shape != x.shape
    ]
    if wrong:
        raise DataError(
            f"{directory} holds tensors of another shape than its config.json "
            f"asks for: {some(wrong)}."
        )
    kinds = [
        f"{x.name} is {stored[x.name].dtype}"
        for x in tensors
        if stored[x.name].dtype not in _FLOATS
    ]
    if kinds:
        raise DataError(
            f"{directory} must hold floats, {', '.join(_FLOATS)}: "
            f"{some(kinds)}. Pass the checkpoint from before quantization."
        )


def _is_tied(stored: Mapping, embedding: names.Tensor) -> bool:
    decoder = stored.get(names.DECODER)
    if decoder is None:
        return True
    other = stored[embedding.name]
    return decoder.shape == other.shape and np.array_equal(
        decoder.value(), other.value()
    )


def _assign(model: keras.Model, tensors, stored: Mapping) -> None:
    variables = {variable.path: variable for variable in model.weights}
    for tensor in tensors:
        variable = variables[tensor.variable]
        value = stored[tensor.name].value()
        variable.assign(tensor.read(value, variable.shape))
