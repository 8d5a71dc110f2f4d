"""Heads of kbig's BERTs, and those of transformers that are the same."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np

from kbig.compression.quantization.model import is_quantized
from kbig.errors import UsageError
from kbig.models import hugging_face_names as names
from kbig.models.hugging_face_files import stored_tensors

# Tokens whose logits a masked language model gives.
_POSITIONS = [[1, 0, 2]]


@dataclasses.dataclass(frozen=True)
class Head:
    """What stands on an encoder.

    Args:
        architecture: the class of transformers.
        has_pooler: whether the model has one.
        num_classes: number of logits, 0 for what is no classifier.
        dropout: of a classifier.
        notes: a sentence for each thing that is left out.
    """

    architecture: str
    has_pooler: bool
    num_classes: int = 0
    dropout: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What the names of the encoder's weights begin with."""
        return "" if self.architecture == "BertModel" else "bert."

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Raises unless there is a name for each class, or none at all."""
        known = {len(class_names), len({*class_names})}
        if class_names and known != {self.num_classes}:
            raise UsageError(
                f"There must be {self.num_classes} different class names, one "
                f"a logit. Received: {len(class_names)}, "
                f"{list(class_names)[:5]}. Pass them in the logits' order."
            )

    def tensors(self, sizes) -> tuple[names.Tensor, ...]:
        """The weights of the head itself."""
        if self.num_classes:
            width = sizes["hidden_dim"]
            return names.classifier_tensors(width, self.num_classes)
        if self.architecture == "BertForMaskedLM":
            return names.masked_lm_tensors(sizes)
        return ()

    def expected(self, model, inputs) -> dict[str, np.ndarray]:
        """What the model gives."""
        if self.architecture == "BertForMaskedLM":
            rows = len(inputs["token_ids"])
            inputs = {
                **inputs,
                "mask_positions": np.repeat(_POSITIONS, rows, 0),
            }
        given = {x.name: inputs[x.name] for x in model.inputs}
        outputs = model(given, training=False)
        if not isinstance(outputs, dict):
            outputs = {"logits": outputs}
        return {
            name.replace("masked_lm", "logits"): np.asarray(value)
            for name, value in outputs.items()
            if name != "next_sentence"
        }

    def computed(
        self, checkpoint, folder: pathlib.Path, inputs
    ) -> dict[str, np.ndarray]:
        """What follows from the files."""
        if self.architecture == "BertForMaskedLM":
            return self.expected(checkpoint.masked_lm, inputs)
        states = checkpoint.backbone(inputs, training=False)
        if not self.num_classes:
            return {name: np.asarray(value) for name, value in states.items()}
        stored = stored_tensors(folder)
        kernel, bias = (
            stored[f"classifier.{x}"].value() for x in ("weight", "bias")
        )
        read = np.asarray(states[_READS[self.architecture]])
        return {"logits": read @ kernel.T + bias}


# Which output of the encoder a classifier reads.
_READS = {
    "BertForSequenceClassification": "pooled_output",
    "BertForTokenClassification": "sequence_output",
}


def head_of(model: keras.Model) -> Head:
    """Finds the head of transformers that is a model's own.

    Args:
        model: a backbone, or one that `kbig.models` put a head on.

    Raises:
        UsageError: there is none.
    """
    import keras_hub

    if is_quantized(model):
        raise UsageError(
            "transformers has no such integers. Received: a model of "
            "`kbig.compression.quantize_aware`. Pass the one it was made of."
        )
    if isinstance(model, keras_hub.models.BertBackbone):
        return Head("BertModel", has_pooler=True)
    _check_inputs(model)
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}
    for name, make in _HEADS.items():
        if name in layers and _holds(layers, "segment_embedding"):
            return make(model, _holds(layers, "pooled_dense"))
    raise _unknown(model)


def _unknown(model) -> UsageError:
    return UsageError(
        "transformers has no model with this head. Expected: a BertBackbone, "
        "or a model of `bert_classifier`, `bert_token_classifier` or "
        "`bert_masked_lm`. Received: "
        f"model={getattr(model, 'name', model)!r}. Export "
        "`kbig.models.find_bert(model)`, the encoder alone."
    )


def _check_inputs(model) -> None:
    names = {x.name for x in getattr(model, "inputs", ())}
    added = names & {"text_ids", "position_ids"}
    if added:
        raise UsageError(
            "transformers has no rows of several texts. Received: a model "
            f"with the inputs {', '.join(sorted(added))}. Pass the plain model "
            "that `kbig.models.packed` was made of: they share their weights."
        )


def _holds(layers, part: str) -> bool:
    """Among the layers, whole or in two, or in a backbone among them."""
    import keras_hub

    return any(
        name.startswith(part)
        or isinstance(layer, keras_hub.models.BertBackbone)
        for name, layer in layers.items()
    )


def _masked_lm(model, has_pooler: bool) -> Head:
    notes = ()
    if isinstance(model.output, dict):
        notes = ("The head for next sentences was left out.",)
    return Head("BertForMaskedLM", has_pooler, notes=notes)


def _classifier(model, has_pooler: bool) -> Head:
    ranks = [len(x.shape) for x in model.outputs]
    if ranks not in ([2], [3]):
        raise _unknown(model)
    if ranks == [2] and not has_pooler:
        raise UsageError(
            "BertForSequenceClassification reads the first token through the "
            "pooler. Received: a classifier that averages the tokens. Train "
            "one with pooling='cls', or export "
            "`kbig.models.find_bert(model)`, the encoder with a pooler that "
            "is not trained."
        )
    rates = [x.rate for x in model.layers if type(x) is keras.layers.Dropout]
    return Head(
        tuple(_READS)[ranks[0] - 2],
        has_pooler,
        model.get_layer("logits").units,
        rates[-1] if rates else None,
    )


# The name of the layer that tells a head.
_HEADS: dict[str, Callable[[keras.Model, bool], Head]] = {
    "masked_lm": _masked_lm,
    "logits": _classifier,
}
