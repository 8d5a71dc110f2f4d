"""config.json, vocab.txt and tokenizer_config.json, as transformers reads."""

import json
import pathlib
from collections.abc import Sequence

from kbig import data
from kbig import models
from kbig.export.hugging_face_heads import Head
from kbig.models.hugging_face_config import ACTIVATIONS
from kbig.models.hugging_face_config import DEFAULTS
from kbig.models.hugging_face_config import FIXED
from kbig.models.hugging_face_config import SIZES
from kbig.models.hugging_face_config import sizes_of

_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def write_configs(
    folder: pathlib.Path,
    backbone,
    head: Head,
    tokenizer,
    class_names: Sequence[str] = (),
) -> str:
    """Writes everything but the weights.

    Args:
        folder: where to.
        backbone: a `keras_hub.models.BertBackbone`.
        head: what stands on it.
        tokenizer: a `keras_hub.models.BertTokenizer`.
        class_names: of a classifier; none are numbered.

    Returns:
        The form of GELU, as config.json names it.
    """
    tokens = list(tokenizer.get_vocabulary())
    config = model_config(backbone, head, class_names)
    config["pad_token_id"] = tokens.index("[PAD]")
    _write(folder / "config.json", config)
    _write(folder / "tokenizer_config.json", _tokenizer(tokenizer, backbone))
    data.save_vocabulary(tokens, folder / "vocab.txt")
    return config["hidden_act"]


def model_config(backbone, head: Head, class_names: Sequence[str] = ()) -> dict:
    """Makes the config.json of a model.

    Args:
        backbone: a `keras_hub.models.BertBackbone`.
        head: what stands on it.
        class_names: of a classifier; none are numbered.

    Returns:
        Keys and values.
    """
    sizes = sizes_of(backbone)
    computed = models.activation_of(backbone.transformer_layers[0])
    activation = next(k for k, form in ACTIVATIONS.items() if form == computed)
    config = {
        "architectures": [head.architecture],
        "model_type": "bert",
        **{theirs: sizes[ours] for theirs, ours in SIZES.items()},
        **{theirs: sizes[ours] for theirs, (ours, _) in DEFAULTS.items()},
        "attention_probs_dropout_prob": sizes["dropout"],
        "hidden_act": activation,
        **dict(FIXED),
        "torch_dtype": "float32",
    }
    if not head.num_classes:
        return config
    labels = class_names or [f"LABEL_{i}" for i in range(head.num_classes)]
    return config | {
        "classifier_dropout": head.dropout,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _tokenizer(tokenizer, backbone) -> dict:
    return {
        "tokenizer_class": "BertTokenizer",
        # kbig's tokenizers fold the case before KerasHub's part of them.
        "do_lower_case": getattr(tokenizer, "lowers_case", tokenizer.lowercase),
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": True,
        "model_max_length": backbone.max_sequence_length,
        **_SPECIAL,
    }


def _write(file: pathlib.Path, values: dict) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
