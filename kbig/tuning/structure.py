"""What a flat BERT consists of: names of its weights, its layers by role."""

import dataclasses
import math
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras
import keras_hub

from kbig.errors import UsageError
from kbig.models import copies
from kbig.models.layers import children

# Part of the pretrained encoder, though it comes after its last layer; two
# layers where `kbig.compression.factorize` made it thin.
_POOLER = ("pooled_dense_in", "pooled_dense")


@dataclasses.dataclass(frozen=True)
class Roles:
    """The layers with weights of a flat model, by what they do.

    Args:
        embeddings: what comes before the encoders.
        encoders: the `TransformerEncoder` layers, lowest first.
        pooler: BERT's pooler, or nothing.
        head: what the task has put on top.
    """

    embeddings: tuple[keras.Layer, ...]
    encoders: tuple[keras.Layer, ...]
    pooler: tuple[keras.Layer, ...]
    head: tuple[keras.Layer, ...]


def roles(model: keras.Model) -> Roles:
    """Sorts the layers of a flat model by what they do.

    Args:
        model: from `bert_classifier` and its like: the encoders are among
            `model.layers`.

    Returns:
        The layers that have weights.

    Raises:
        UsageError: there is no encoder, or nothing on top of the last.

    Example:
    ```python
    model = bert_classifier(bert("tiny"), num_classes=3)
    [layer.name for layer in roles(model).head]  # ["logits"]
    ```
    """
    layers = [layer for layer in model.layers if layer.weights]
    encoders = [x for x in layers if is_encoder(x)]
    if not encoders:
        raise UsageError(
            "`model` has no TransformerEncoder among its layers. Received: "
            f"model={model.name!r} with layers "
            f"{[layer.name for layer in model.layers]}. Pass a model from "
            "`bert_classifier` or `bert_token_classifier`."
        )
    first, last = layers.index(encoders[0]), layers.index(encoders[-1])
    above = layers[last + 1 :]
    head = tuple(layer for layer in above if layer.name not in _POOLER)
    if not head:
        raise UsageError(
            "`model` has no head: no layer with weights comes after its "
            f"encoders. Received: model={model.name!r}. Pass a model from "
            "`bert_classifier` or `bert_token_classifier`."
        )
    pooler = tuple(layer for layer in above if layer.name in _POOLER)
    return Roles(tuple(layers[:first]), tuple(encoders), pooler, head)


def is_encoder(layer: keras.Layer) -> bool:
    """Tells KerasHub's `TransformerEncoder`, and what derives from it.

    Args:
        layer: any layer.

    Returns:
        Whether it is one.
    """
    return isinstance(layer, keras_hub.layers.TransformerEncoder)


def weight_names(layer: keras.Layer) -> dict[str, keras.Variable]:
    """Names every weight by the names of the layers that hold it.

    Keras numbers the layers that were given no name, "dense", "dense_1", over
    the whole process. Here they are numbered within what holds them, so that
    a model that is built again has the same names.

    Args:
        layer: a built layer or model.

    Returns:
        Variables by names such as
        "transformer_layer_0/self_attention_layer/query/kernel". A weight that
        layers share has the name it has in the first.

    Example:
    ```python
    weight_names(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    # {"dense/kernel": ..., "dense/bias": ...}
    ```
    """
    names: dict[str, keras.Variable] = {}
    _add_names(layer, "", names, set())
    return names


def select(model: keras.Model, names: Iterable[str]) -> None:
    """Makes exactly these weights trainable.

    Compiling keeps what was set here. Setting `layer.trainable` later does
    not, and Keras's files do not have it: select again after loading.

    Args:
        model: changed in place; compile it afterwards.
        names: as of `weight_names`.

    Example:
    ```python
    select(model, ["logits/kernel", "logits/bias"])
    ```
    """
    variables = weight_names(model)
    chosen = {id(variables[name]) for name in names}
    make_trainable(model)
    candidates = model.trainable_variables
    for layer in model.layers:
        ids = {id(weight) for weight in layer.weights}
        if ids and not ids & chosen:
            layer.trainable = False
    for variable in candidates:
        variable.trainable = id(variable) in chosen


def make_trainable(model: keras.Model) -> None:
    """Makes every weight trainable that can be.

    Args:
        model: changed in place.
    """
    for layer in model._flatten_layers():
        # TensorFlow passes over an attribute that is set to what it is, and
        # with it the variables that were frozen one by one.
        layer.trainable = False
        layer.trainable = True


def trainable_names(model: keras.Model) -> tuple[str, ...]:
    """Names the weights that training would change.

    Args:
        model: any model.

    Returns:
        Names as of `weight_names`.
    """
    ids = {id(variable) for variable in model.trainable_variables}
    return tuple(n for n, v in weight_names(model).items() if id(v) in ids)


def parameters(variables: Iterable[keras.Variable]) -> int:
    """Counts the numbers in variables.

    Args:
        variables: of any shapes.

    Returns:
        The sum of their sizes.
    """
    return sum(math.prod(variable.shape) for variable in variables)


def with_encoders(
    model: keras.Model, change: Callable[[dict], dict]
) -> keras.Model:
    """Builds a model again with other encoders, and copies the weights.

    Args:
        model: a flat model.
        change: of the serialized configuration of each encoder.

    Returns:
        A new model that is not compiled. Weights of the same name are
        copied; new ones are at their start.

    Raises:
        UsageError: an encoder has lost some of its heads.
    """
    encoders = {layer.name for layer in model.layers if is_encoder(layer)}
    _check_all_heads(model)
    config = copies.serialized(model)
    config["config"]["layers"] = [
        change(layer) if layer["config"]["name"] in encoders else layer
        for layer in config["config"]["layers"]
    ]
    copy = copies.built(config, copies.own_classes(model))
    source = weight_names(model)
    for name, variable in weight_names(copy).items():
        if name in source:
            variable.assign(source[name])
    copies.settle(copy)
    return copy


def retyped(
    config: dict, layer_class: type, options: Mapping[str, Any]
) -> dict:
    """Turns the serialized configuration of a layer into another class's.

    Args:
        config: what Keras makes of a layer.
        layer_class: what to make of it instead.
        options: the class's constructor arguments.

    Returns:
        A new configuration; the layer's name and connections stay.
    """
    return {
        **config,
        "module": layer_class.__module__,
        "class_name": layer_class.__name__,
        "registered_name": keras.saving.get_registered_name(layer_class),
        "config": dict(options),
    }


def _check_all_heads(model) -> None:
    for layer in model.layers:
        if is_encoder(layer) and hasattr(layer, "head_dim"):
            raise UsageError(
                "Low-rank updates and adapters need encoders whose heads fill "
                f"the width. Received: {layer.name} with {layer.num_heads} "
                f"heads of {layer.head_dim}. Train all of it, or shrink the "
                "model without removing heads."
            )


def _add_names(layer, prefix, names, seen) -> None:
    for name, child in _named_children(layer):
        _add_names(child, f"{prefix}{name}/", names, seen)
    for variable in layer.weights:
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        name, count = f"{prefix}{variable.name}", 1
        while name in names:
            name, count = f"{prefix}{variable.name}_{count}", count + 1
        names[name] = variable


def _named_children(layer) -> list[tuple[str, keras.Layer]]:
    counts: dict[str, int] = {}
    named = []
    for child in children(layer):
        stem = re.sub(r"_\d+$", "", child.name)
        is_numbered = stem.replace("_", "") == type(child).__name__.lower()
        name = child.name
        if is_numbered:
            number = counts.get(stem, 0)
            counts[stem] = number + 1
            name = f"{stem}_{number}" if number else stem
        named.append((name, child))
    return named
