"""The backbone inside a model, as to fine-tune what was pretrained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from kbig.errors import UsageError
from kbig.models.bert import activation_of
from kbig.models.bert import backbone_of

if TYPE_CHECKING:
    import keras_hub

_ATTRIBUTES = {"position_embedding": "position_embeddings"}


def find_bert(model: keras.Model) -> keras_hub.models.BertBackbone:
    """Gets the backbone out of a model, as to fine-tune what was pretrained.

    Args:
        model: from `bert_classifier`, `bert_token_classifier`,
            `bert_masked_lm` or `packed`, possibly loaded from a file; or one
            that holds a BertBackbone as a layer.

    Returns:
        The backbone itself where it is the model or a layer of it; otherwise
        a new backbone with a copy of the weights, LoRA and low-rank factors
        folded in. A model without a pooler leaves that of the copy as it
        starts.

    Raises:
        UsageError: when the model holds no BERT, or one with weights that
            cannot be copied, as quantized ones.

    Example:
    ```python
    pretrained = bert_masked_lm(bert("tiny"))
    classifier = bert_classifier(find_bert(pretrained), num_classes=3)
    ```
    """
    return _nested(model) or copied_bert(model)


def copied_bert(
    model: keras.Model, dtype=None
) -> keras_hub.models.BertBackbone:
    """Builds a backbone with a copy of the weights of a model.

    Args:
        model: as of `find_bert`, or a BertBackbone.
        dtype: policy of the copy, or its name; None keeps that of the model.

    Returns:
        A new backbone, with the activation and the epsilon of the old one.

    Raises:
        UsageError: as of `find_bert`.

    Example:
    ```python
    half = copied_bert(bert("tiny"), "mixed_bfloat16")
    ```
    """
    import keras_hub

    model = _nested(model) or model
    layers = {layer.name: layer for layer in model.layers}
    encoders = [
        layer
        for layer in model.layers
        if isinstance(layer, keras_hub.layers.TransformerEncoder)
    ]
    if not encoders or "segment_embedding" not in layers:
        raise UsageError(
            "`model` holds no BERT backbone. Received: "
            f"model={model.name!r} with layers {sorted(layers)}. Pass a model "
            "from `bert_classifier` or `bert_masked_lm`."
        )
    _check_not_quantized(model)
    return _copied(layers, encoders, dtype)


def _nested(model):
    import keras_hub

    for layer in (model, *model.layers):
        if isinstance(layer, keras_hub.models.BertBackbone):
            return layer
    return None


def _copied(layers, encoders, dtype):
    tokens = layers["token_embedding"]
    segments = _first_of(layers, "segment_embedding")
    backbone = backbone_of(
        activation=activation_of(encoders[0]),
        layer_norm_epsilon=encoders[0].layer_norm_epsilon,
        vocabulary_size=tokens.input_dim,
        num_layers=len(encoders),
        num_heads=encoders[0].num_heads,
        hidden_dim=tokens.output_dim,
        intermediate_dim=encoders[0].intermediate_dim,
        dropout=encoders[0].dropout,
        max_sequence_length=layers["position_embedding"].sequence_length,
        num_segments=segments.input_dim,
        dtype=dtype or tokens.dtype_policy,
    )
    for layer in backbone.layers:
        source = layers.get(layer.name)
        first = _first_of(layers, layer.name)
        if source is not first:
            _copy_product(first, source, layer)
        elif source is not None:
            _copy_weights(source, layer)
    return backbone


def _first_of(layers, name):
    """The first of the two that `kbig.compression.factorize` makes of one."""
    return layers.get(f"{name}_in", layers.get(name))


def _copy_product(first, second, target) -> None:
    product = keras.ops.matmul(first.weights[0], second.weights[0])
    for variable, value in zip(target.weights, (product, *second.weights[1:])):
        variable.assign(value)


def _copy_weights(source, target) -> None:
    """Copies by name, once it is sure that both hold the same layers."""
    # What is factorized gives the products; its factors are its own affair.
    folded = source.folded() if hasattr(source, "folded") else None
    inside = [] if folded else _children(source)
    sources = {layer.name: layer for layer in inside}
    wanted = {layer.name: layer for layer in _children(target)}
    _check_same_layers(source.name, set(sources), set(wanted))
    own = (*target._trainable_variables, *target._non_trainable_variables)
    for variable in own:
        # A layer with LoRA gives its kernel with the update folded in.
        name = _ATTRIBUTES.get(target.name, variable.name)
        value = folded[name] if folded else getattr(source, name)
        _check_same_shape(source.name, value, variable)
        variable.assign(value)
    for name, child in wanted.items():
        _copy_weights(sources[name], child)


def _check_same_shape(name: str, value, variable) -> None:
    if tuple(value.shape) != tuple(variable.shape):
        raise UsageError(
            "`model` holds layers from which no backbone can be copied: one "
            "has the same sizes throughout. Received: "
            f"{name}/{variable.name} of shape {tuple(value.shape)} where a "
            f"backbone has {tuple(variable.shape)}. Use the model as it is, "
            "or shrink its layers alike and leave the attention heads."
        )


def _check_same_layers(name: str, present: set, wanted: set) -> None:
    missing, added = sorted(wanted - present), sorted(present - wanted)
    if missing:
        raise UsageError(
            f"`model` holds a {name} from which no backbone can be copied. "
            f"Received: no {', '.join(missing)} among {sorted(present)}. Take "
            "the model from before it was changed."
        )
    if added:
        raise UsageError(
            f"`model` holds a {name} with layers that a BERT has no place "
            f"for. Received: {added}. Take the model from before they were "
            "added, and add adapters to it with `kbig.tuning.load_part`."
        )


def _children(layer):
    layers = layer._flatten_layers(recursive=False, include_self=False)
    return [child for child in layers if child.weights]


def _check_not_quantized(model) -> None:
    for layer in model._flatten_layers():
        mode = getattr(layer, "quantization_mode", None)
        if mode:
            raise UsageError(
                "`model` holds rounded weights, from which no backbone can "
                f"be copied. Received: {layer.name} quantized to {mode}. "
                "Take the model from before `quantize`."
            )
