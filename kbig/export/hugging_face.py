"""`hugging_face`: a BERT as a directory that transformers loads."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from kbig import data
from kbig import models
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export import compare
from kbig.export.hugging_face_config import write_configs
from kbig.export.hugging_face_heads import Head
from kbig.export.hugging_face_heads import head_of
from kbig.export.staging import staging
from kbig.export.twin import float32_twin
from kbig.models import hugging_face_names as names
from kbig.models.hugging_face_config import sizes_of
from kbig.reporting import Bytes
from kbig.reporting import Report
from kbig.reporting import Table

_WEIGHTS = "model.safetensors"


@dataclasses.dataclass(frozen=True)
class HuggingFaceReport(Report):
    """What was written for transformers.

    Args:
        path: of the directory.
        architecture: the class of transformers that has this head.
        activation: the form of GELU, as config.json names it.
        parameters: numbers that were written.
        bytes: of all files.
        largest_difference: of the outputs from the model's, computed from
            the files, as a share of their range.
        notes: a sentence for each thing that was left out.
    """

    path: str
    architecture: str
    activation: str
    parameters: int
    bytes: Bytes
    largest_difference: float
    notes: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        """One table, with what was left out below it."""
        (table,) = super().tables()
        return [dataclasses.replace(table, note=" ".join(self.notes))]


def hugging_face(
    model: keras.Model,
    directory: str | os.PathLike,
    *,
    tokenizer=None,
    vocabulary: Sequence[str] | str | os.PathLike | None = None,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    class_names: Sequence[str] = (),
) -> HuggingFaceReport:
    """Writes a BERT as a directory that transformers loads.

    It holds `config.json`, `model.safetensors`, `vocab.txt` and
    `tokenizer_config.json`. What was written is loaded again by
    `kbig.models.load_hugging_face` before the directory gets its name: its
    weights are the model's bit for bit, and its outputs are compared. LoRA and
    low-rank factors are folded in.

    Args:
        model: a backbone, or a model of `kbig.models.bert_classifier`,
            `bert_token_classifier` or `bert_masked_lm`. A classifier that
            averages the tokens has no like there.
        directory: where to; it must not exist, or be empty.
        tokenizer: a KerasHub BertTokenizer; or else
        vocabulary: the tokens in order of their ids, or the file with one a
            line.
        lowercase: with a vocabulary, whether the case is folded.
        strip_accents: likewise of accents; None is as `lowercase`.
        class_names: of a classifier, in the order of its logits.

    Returns:
        A report, which prints as a table.

    Raises:
        UsageError: the model is no BERT or has a head that transformers has
            not, the vocabulary does not fit, or the directory is not empty.
        GateError: what was written is not the model; nothing is left of it.

    Example:
    ```python
    tokens = kbig.data.load_vocabulary("runs/topics/vocabulary.txt")
    kbig.export.hugging_face(model, "topics", vocabulary=tokens)
    ```
    """
    directory = pathlib.Path(directory)
    head = head_of(model)
    head.check_classes(class_names)
    tokenizer = _tokenizer(tokenizer, vocabulary, lowercase, strip_accents)
    backbone = models.copied_bert(model, "float32")
    _check_vocabulary(tokenizer, backbone)
    _check_free(directory)
    tensors = _tensors(model, backbone, head)
    target = directory.resolve()
    with staging(target.parent) as aside:
        folder = aside / target.name
        folder.mkdir()
        activation = write_configs(
            folder, backbone, head, tokenizer, class_names
        )
        _write_weights(folder / _WEIGHTS, tensors)
        difference = _proved(model, backbone, head, folder)
        os.rename(folder, target)
    return HuggingFaceReport(
        path=str(directory),
        architecture=head.architecture,
        activation=activation,
        parameters=sum(x.size for x in tensors.values()),
        bytes=Bytes(sum(x.stat().st_size for x in directory.iterdir())),
        largest_difference=difference,
        notes=head.notes,
    )


def _tokenizer(tokenizer, vocabulary, lowercase, strip_accents):
    """The one that was given, or one of the vocabulary, checked."""
    if (tokenizer is None) == (vocabulary is None):
        raise UsageError(
            "Pass either a tokenizer or a vocabulary, so that ids mean the "
            f"same there. Received: tokenizer={tokenizer!r}, "
            f"vocabulary={'None' if vocabulary is None else 'given'}."
        )
    if tokenizer is not None:
        return _checked(tokenizer)
    if isinstance(vocabulary, (str, os.PathLike)):
        vocabulary = data.load_vocabulary(vocabulary)
    return data.tokenizer(vocabulary, lowercase, strip_accents)


def _checked(tokenizer):
    import keras_hub

    if isinstance(tokenizer, keras_hub.models.BertTokenizer):
        return tokenizer
    raise UsageError(
        "transformers has BERT's WordPiece only. Expected: a KerasHub "
        f"BertTokenizer, as of `kbig.data.tokenizer`. Received: "
        f"tokenizer={tokenizer!r}. Pass vocabulary= instead."
    )


def _check_vocabulary(tokenizer, backbone) -> None:
    tokens = tokenizer.vocabulary_size()
    if tokens > backbone.vocabulary_size:
        raise UsageError(
            "The model must have a row for each token. Received: a "
            f"vocabulary of {tokens} and a model of "
            f"{backbone.vocabulary_size}. Pass the vocabulary that it was "
            "trained with."
        )


def _check_free(directory: pathlib.Path) -> None:
    taken = directory.is_dir() and any(directory.iterdir())
    if taken or (directory.exists() and not directory.is_dir()):
        raise UsageError(
            "The directory must not exist, or be empty. Received: "
            f"{str(directory)!r}. Pass another one, or remove it."
        )


def _tensors(model, backbone, head: Head) -> dict[str, np.ndarray]:
    """Arrays by the names that they have in the file."""
    sizes = sizes_of(backbone)
    encoder = names.encoder_tensors(sizes)
    if head.has_pooler:
        encoder = (*encoder, *names.pooler_tensors(sizes))
    found = {
        f"{head.prefix}{name}": value
        for name, value in _written(encoder, backbone).items()
    }
    return found | _written(head.tensors(sizes), model)


def _written(tensors, model) -> dict[str, np.ndarray]:
    variables = {variable.path: variable for variable in model.weights}
    return {x.name: x.write(variables[x.variable].numpy()) for x in tensors}


def _write_weights(file: pathlib.Path, tensors) -> None:
    from safetensors.numpy import save

    # transformers takes no file without this. `save_file` would make one that
    # nobody else can read.
    file.write_bytes(save(tensors, metadata={"format": "pt"}))


def _proved(model, backbone, head: Head, folder: pathlib.Path) -> float:
    """Loads what was written and compares it with the model."""
    with _in_float32():
        checkpoint = models.load_hugging_face(folder)
    pooler = () if head.has_pooler else ("pooled_dense",)
    own = {x.path: x.numpy() for x in backbone.weights}
    for weight in checkpoint.backbone.weights:
        if weight.path.startswith(pooler):
            continue
        if not np.array_equal(weight.numpy(), own[weight.path]):
            raise GateError(
                f"Nothing was written: {weight.path} is not the model's after "
                "it is read again."
            )
    inputs = _inputs(backbone)
    expected = head.expected(float32_twin(model), inputs)
    got = head.computed(checkpoint, folder, inputs)
    difference = max(
        compare.largest_difference(got[name], expected[name]) for name in got
    )
    allowed = max(compare.tolerance(x, "float32") for x in expected.values())
    if not difference <= allowed:
        raise GateError(
            "Nothing was written: what the files say differs from the model's "
            f"outputs by {difference:.2g} of their range, {allowed:.2g} is "
            "allowed. A layer of the model is not one of BERT's."
        )
    return difference


def _inputs(backbone, rows: int = 4) -> dict[str, np.ndarray]:
    """Rows of two segments, of which half are padded."""
    generator = np.random.default_rng(0)
    steps = min(16, backbone.max_sequence_length)
    ids = generator.integers(0, backbone.vocabulary_size, (rows, steps))
    mask = np.ones((rows, steps), "int32")
    mask[rows // 2 :, steps // 2 + 1 :] = 0
    segments = generator.integers(0, backbone.num_segments, (rows, steps))
    return {
        "token_ids": ids.astype("int32"),
        "segment_ids": segments.astype("int32"),
        "padding_mask": mask,
    }


@contextlib.contextmanager
def _in_float32():
    """Whatever policy is in force."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
