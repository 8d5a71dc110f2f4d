"""Builds a model again with thin layers in the place of whole ones."""

import dataclasses
from collections.abc import Mapping

import keras
from keras.src.saving.serialization_lib import ObjectSharingScope

from kbig.compression.again import built_again
from kbig.compression.again import serialized
from kbig.compression.low_rank.kinds import fill
from kbig.compression.low_rank.kinds import kind_of
from kbig.compression.low_rank.layers import FactorizedEmbedding
from kbig.compression.low_rank.sites import is_open
from kbig.compression.low_rank.sites import is_plain_encoder
from kbig.compression.low_rank.sites import own_variables
from kbig.compression.low_rank.sites import parameters_of
from kbig.errors import UsageError
from kbig.models.copies import carry_assets
from kbig.models.copies import settle
from kbig.models.copies import uncompiled
from kbig.models.layers import children

# What a model's configuration says of a layer beside what the layer says.
_OF_THE_GRAPH = ("name", "inbound_nodes")


def factorized(
    model: keras.Model, ranks: Mapping[str, int], parameters: int
) -> keras.Model:
    """Builds a model with thin layers, and gives it the nearest weights.

    Args:
        model: a built Functional or Sequential model; stays as it is.
        ranks: ranks by the names of sites that can be replaced.
        parameters: numbers that the weights of the new model must have.

    Returns:
        A new model that is not compiled. What came out of the layer "x" comes
        out of "x" still; the layer before it is "x_in".

    Raises:
        UsageError: what Keras makes of the configuration has others, or it
            cannot build a layer by it.
    """
    makers: dict = {}
    # The scopes keep tied weights tied, as when a file is saved and loaded.
    with ObjectSharingScope(), uncompiled(model):
        config = serialized(model)
    config = _thinned(config, model, "", ranks, makers)
    with ObjectSharingScope():
        copy = keras.saving.deserialize_keras_object(
            config,
            custom_objects=makers,
            # Its own code, of this process: nothing comes from a file.
            safe_mode=False,
        )
    if parameters_of(copy) != parameters:
        raise UsageError(
            f"Keras cannot build {model.name!r} again as it is, nor save it: "
            "it shares layers between models, or weights between layers. "
            f"Received: {parameters_of(copy):,} parameters of the new model, "
            f"where {parameters:,} were planned. Call a layer that is shared "
            "in one model only."
        )
    _copy(model, copy, _fill(model, copy, "", ranks))
    settle(copy)
    return copy


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Stands in for the class of one layer, which Keras need not find."""

    layer: keras.Layer
    config: dict

    def from_config(self, _) -> keras.Layer:
        return built_again(self.layer, self.config)


def _thinned(config, model, prefix, ranks, makers) -> dict:
    """Changes the configuration of a model, and of the models in it."""
    layers = {layer.name: layer for layer in model.layers}
    new = []
    for old in config["config"]["layers"]:
        name = old["config"]["name"]
        layer, path = layers.get(name), f"{prefix}{name}"
        if layer is None:
            new.append(old)
        elif is_open(layer):
            new.append(_thinned(old, layer, f"{path}/", ranks, makers))
        elif path in ranks:
            first_name = _first_name(name, layers)
            thin = _thin_configs(old, layer, ranks[path], first_name)
            new += [_made(x, layer, makers) for x in thin]
        elif is_plain_encoder(layer):
            thin = _thin_encoder(old, _below(path, ranks))
            new.append(_made(thin, layer, makers))
        else:
            new.append(_made(old, layer, makers))
    changed = {**config, "config": {**config["config"], "layers": new}}
    return {**changed, **_known_as(type(model), makers)}


def _made(config: dict, layer, makers: dict) -> dict:
    """Lets a layer be built by itself: others may use its classes' names."""
    outside = {x: config[x] for x in _OF_THE_GRAPH if x in config}
    inside = {x: y for x, y in config.items() if x not in outside}
    known = _known_as(_Maker(layer, inside), makers)
    return {**known, "config": {"name": config["config"]["name"]}, **outside}


def _known_as(maker, makers: dict) -> dict:
    key = f"kbig>{len(makers)}"
    makers[key] = maker
    return {"module": None, "class_name": key, "registered_name": key}


def _first_name(name: str, taken) -> str:
    first, count = f"{name}_in", 0
    while first in taken:
        count += 1
        first = f"{name}_in_{count}"
    return first


def _below(path: str, ranks) -> dict[str, int]:
    start = f"{path}/"
    return {
        name.removeprefix(start): rank
        for name, rank in ranks.items()
        if name.startswith(start)
    }


def _thin_configs(old, layer, rank, first_name) -> list[dict]:
    thin = kind_of(layer).thin(layer, rank, first_name)
    if isinstance(thin, FactorizedEmbedding):
        return [_retyped(old, thin)]
    first, second = map(keras.saving.serialize_keras_object, thin)
    if "inbound_nodes" in old:
        nodes = old["inbound_nodes"]
        # The second is called where the whole was; the first where it is.
        first |= {"name": first_name, "inbound_nodes": nodes}
        second |= {
            "name": layer.name,
            "inbound_nodes": [
                _node(first_name, index) for index in range(len(nodes))
            ],
        }
    return [first, second]


def _node(name: str, index: int) -> dict:
    # Keras looks the tensor up by its history, whatever the shape says.
    tensor = {
        "class_name": "__keras_tensor__",
        "config": {
            "shape": [None],
            "dtype": "float32",
            "keras_history": [name, index, 0],
        },
    }
    return {"args": [tensor], "kwargs": {}}


def _thin_encoder(old: dict, ranks: Mapping[str, int]) -> dict:
    if not ranks:
        return old
    from kbig.compression.low_rank.encoder import FactorizedEncoder

    options = {**old["config"], "ranks": dict(ranks)}
    return {**old, **_class_of(FactorizedEncoder), "config": options}


def _retyped(old: dict, layer: keras.Layer) -> dict:
    new = keras.saving.serialize_keras_object(layer)
    return {**old, **_class_of(type(layer)), "config": new["config"]}


def _class_of(layer_class: type) -> dict:
    return {
        "module": layer_class.__module__,
        "class_name": layer_class.__name__,
        "registered_name": keras.saving.get_registered_name(layer_class),
    }


def _fill(source, target, prefix, ranks) -> set[int]:
    """Fills thin layers; returns what they are, and what they replace."""
    targets = {layer.name: layer for layer in target.layers}
    names = {layer.name for layer in source.layers}
    replaced = set()
    for layer in source.layers:
        path, twin = f"{prefix}{layer.name}", targets[layer.name]
        if is_open(layer):
            replaced |= _fill(layer, twin, f"{path}/", ranks)
        elif path in ranks and isinstance(twin, FactorizedEmbedding):
            fill(layer, twin.first, twin.second, ranks[path])
            replaced |= {id(layer), id(twin)}
        elif path in ranks:
            first = targets[_first_name(layer.name, names)]
            fill(layer, first, twin, ranks[path])
            replaced |= {id(layer), id(first), id(twin)}
        elif is_plain_encoder(layer):
            replaced |= _fill_encoder(layer, twin, _below(path, ranks))
    return replaced


def _fill_encoder(source, target, ranks) -> set[int]:
    replaced = set()
    for name, rank in ranks.items():
        from kbig.compression.low_rank.encoder import projection

        whole, pair = projection(source, name), projection(target, name)
        fill(whole, pair.first, pair.second, rank)
        replaced |= {id(whole), id(pair)}
    return replaced


def _copy(source, target, done) -> None:
    """Copies weights, and which of them are trainable, unless it is done."""
    done.add(id(source))
    for old, new in zip(
        own_variables(source), own_variables(target), strict=True
    ):
        new.assign(old)
        new.trainable = old.trainable
    carry_assets([(source, target)])
    old_layers = [x for x in children(source) if id(x) not in done]
    if is_open(source):
        # Thin layers may change the order, and a model keeps the names.
        named = {layer.name: layer for layer in target.layers}
        pairs = [(layer, named[layer.name]) for layer in old_layers]
    else:
        new_layers = [x for x in children(target) if id(x) not in done]
        pairs = list(zip(old_layers, new_layers, strict=True))
    for old_layer, new_layer in pairs:
        _copy(old_layer, new_layer, done)
        done.add(id(new_layer))
