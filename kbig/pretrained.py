"""What to start from: an earlier run, Hugging Face's files, a preset."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from kbig import data
from kbig import models
from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.models.hugging_face import NO_POOLER
from kbig.models.hugging_face_files import read_json
from kbig.runs import Run

if TYPE_CHECKING:
    import keras_hub

_DIRECTORIES = (
    "a run directory of kbig (config.json, model.keras, vocabulary.txt), a "
    "Hugging Face directory (config.json, model.safetensors, vocab.txt) or a "
    "KerasHub preset directory"
)


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A backbone, and how texts are turned into its ids.

    Args:
        backbone: the encoder, under the dtype policy that was in force.
        vocabulary: the tokens in order of their ids; there may be fewer than
            the embedding has rows.
        lowercase: whether the tokenizer folds the case.
        strip_accents: whether it strips accents.
        masked_lm: the pretraining model, on that same backbone, or None when
            the source has no head for it.
        source: where it came from.
        notes: a sentence for each thing that the source lacks, or that was
            left out of it.
    """

    backbone: keras_hub.models.BertBackbone
    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool
    masked_lm: keras.Model | None
    source: str
    notes: tuple[str, ...] = ()

    def tokenizer(self):
        """Makes the tokenizer of the source.

        Returns:
            A `keras_hub.models.BertTokenizer`.
        """
        return data.tokenizer(
            self.vocabulary, self.lowercase, self.strip_accents
        )


def load(source: str) -> Pretrained:
    """Loads a pretrained BERT with its vocabulary.

    Args:
        source: a run directory of kbig, a Hugging Face directory, a KerasHub
            preset directory, or the name of a KerasHub preset of BERT, which
            is downloaded.

    Returns:
        What it held, under the dtype policy in force.

    Raises:
        UsageError: when the source is none of these, holds no BERT, or its
            vocabulary does not fit the model.
        DataError: when a file of it is missing or broken.

    Example:
    ```python
    start = load("runs/pretrain-mlm")
    classifier = kbig.models.bert_classifier(start.backbone, num_classes=3)
    ```
    """
    path = pathlib.Path(source)
    config = _config(path) if path.is_dir() else None
    for is_it, read in _SOURCES:
        if is_it(path, config):
            pretrained = read(str(source), path)
            return _with_checked_vocabulary(pretrained)
    if path.exists():
        found = sorted(x.name for x in path.iterdir()) if path.is_dir() else []
        raise UsageError(
            f"{source} holds no pretrained BERT. Expected: {_DIRECTORIES}. "
            f"Received: {', '.join(found[:8]) or 'nothing of these'}."
        )
    raise UsageError(
        "There is no such pretrained BERT. Received: "
        f"{str(source)!r}. Pass {_DIRECTORIES}; or the name of a preset to "
        f"download: {', '.join(_preset_names())}."
    )


def _from_run(source: str, path: pathlib.Path) -> Pretrained:
    run = Run.open(path)
    if not run.vocabulary:
        raise UsageError(
            f"{source} is a run of {run.recipe} without a vocabulary.txt. "
            "Expected: a run whose model reads text. Pass one of pretrain-mlm "
            "or finetune."
        )
    model = run.load_model()
    backbone = models.copied_bert(model, keras.config.dtype_policy().name)
    names = {layer.name for layer in model.layers}
    notes = () if "pooled_dense" in names else (NO_POOLER,)
    masked_lm = None
    if "masked_lm" in names:
        masked_lm = models.bert_masked_lm(backbone, "next_sentence" in names)
        for name in names & {"masked_lm", "next_sentence"}:
            values = {v.path: v for v in model.get_layer(name).weights}
            for variable in masked_lm.get_layer(name).weights:
                variable.assign(values[variable.path])
    lowercase = run.config["lowercase"]
    accents = run.config.get("strip_accents")
    return Pretrained(
        backbone=backbone,
        vocabulary=run.vocabulary,
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else accents,
        masked_lm=masked_lm,
        source=source,
        notes=notes,
    )


def _from_hugging_face(source: str, path: pathlib.Path) -> Pretrained:
    # The vocabulary first: it takes no time to find that it is missing.
    vocabulary = _hugging_face_vocabulary(path)
    lowercase, strip_accents = _hugging_face_casing(path)
    checkpoint = models.load_hugging_face(path)
    return Pretrained(
        backbone=checkpoint.backbone,
        vocabulary=vocabulary,
        lowercase=lowercase,
        strip_accents=strip_accents,
        masked_lm=checkpoint.masked_lm,
        source=source,
        notes=checkpoint.notes,
    )


def _from_preset(source: str, path: pathlib.Path) -> Pretrained:
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(source)
        tokenizer = keras_hub.models.Tokenizer.from_preset(source)
    except Exception as error:
        if path.is_dir():
            raise DataError(
                f"{source} is no whole KerasHub preset: {_line(error)}"
            ) from error
        raise UsageError(
            f"Cannot download the preset {source!r} ({_line(error)}). Pass "
            f"what is on this machine: {_DIRECTORIES}."
        ) from error
    wanted = (keras_hub.models.BertBackbone, keras_hub.models.BertTokenizer)
    for part, kind in zip((backbone, tokenizer), wanted, strict=True):
        if not isinstance(part, kind):
            raise UsageError(
                f"{source} is a preset of another model. Expected: a "
                f"{kind.__name__}. Received: a {type(part).__name__}."
            )
    notes = ()
    if tokenizer.lowercase and not tokenizer.strip_accents:
        notes = (
            "Its tokenizer folds the case and keeps accents, as KerasHub set "
            "it; words with accents may become [UNK].",
        )
    return Pretrained(
        backbone=models.copied_bert(backbone, keras.config.dtype_policy().name),
        vocabulary=tuple(tokenizer.get_vocabulary()),
        lowercase=tokenizer.lowercase,
        strip_accents=tokenizer.strip_accents,
        masked_lm=None,
        source=source,
        notes=notes,
    )


def _is_run(path: pathlib.Path, config: Mapping | None) -> bool:
    return config is not None and {"recipe", "kbig"} <= {*config}


def _is_hugging_face(path: pathlib.Path, config: Mapping | None) -> bool:
    return config is not None and "model_type" in config


def _is_preset(path: pathlib.Path, config: Mapping | None) -> bool:
    if config is None:
        return not path.exists() and str(path) in _preset_names()
    return "registered_name" in config


# How a source is recognized, and read.
_SOURCES = (
    (_is_run, _from_run),
    (_is_hugging_face, _from_hugging_face),
    (_is_preset, _from_preset),
)


def _config(path: pathlib.Path) -> Mapping | None:
    file = path / "config.json"
    return read_json(file) if file.is_file() else None


def _preset_names() -> list[str]:
    import keras_hub

    return sorted(keras_hub.models.BertBackbone.presets)


def _hugging_face_vocabulary(path: pathlib.Path) -> tuple[str, ...]:
    if (path / "vocab.txt").is_file():
        return data.load_vocabulary(path / "vocab.txt")
    file = path / "tokenizer.json"
    if not file.is_file():
        raise DataError(
            f"{path} has neither vocab.txt nor tokenizer.json. Copy the whole "
            "checkpoint."
        )
    ids = read_json(file).get("model", {}).get("vocab")
    if not isinstance(ids, dict) or sorted(ids.values()) != [*range(len(ids))]:
        raise DataError(
            f"{file} holds no WordPiece vocabulary with the ids 0, 1, 2, ... "
            "Pass a checkpoint with a vocab.txt."
        )
    return tuple(sorted(ids, key=ids.get))


def _hugging_face_casing(path: pathlib.Path) -> tuple[bool, bool]:
    """As their tokenizers read it: the older file overrides the newer one."""
    settings = {"lowercase": True, "strip_accents": None}
    file = path / "tokenizer.json"
    if file.is_file():
        normalizer = read_json(file).get("normalizer") or {}
        settings |= normalizer
    file = path / "tokenizer_config.json"
    if file.is_file():
        config = read_json(file)
        renamed = {
            "do_lower_case": "lowercase",
            "strip_accents": "strip_accents",
            "tokenize_chinese_chars": "handle_chinese_chars",
        }
        settings |= {renamed[k]: config[k] for k in config if k in renamed}
    if not settings.get("handle_chinese_chars", True):
        raise UsageError(
            f"{path}: its tokenizer keeps Chinese characters together, which "
            "kbig always splits. Pass another checkpoint."
        )
    lowercase, accents = settings["lowercase"], settings["strip_accents"]
    return lowercase, lowercase if accents is None else accents


def _with_checked_vocabulary(pretrained: Pretrained) -> Pretrained:
    tokens, rows = pretrained.vocabulary, pretrained.backbone.vocabulary_size
    missing = [x for x in data.SPECIAL_TOKENS if x not in tokens]
    if missing:
        raise DataError(
            f"The vocabulary of {pretrained.source} lacks "
            f"{', '.join(missing)}; a BERT needs "
            f"{', '.join(data.SPECIAL_TOKENS)}."
        )
    if len(tokens) > rows:
        raise DataError(
            f"The vocabulary of {pretrained.source} has {len(tokens)} tokens, "
            f"but its model only {rows} rows for them. Pass a vocabulary and "
            "a model that belong together."
        )
    return pretrained


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
