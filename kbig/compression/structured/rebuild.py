"""A model built again with other sizes, and the weights that are left."""

import copy
import dataclasses
from collections.abc import Callable
from collections.abc import Mapping

import keras
import numpy as np
from keras.src.saving.serialization_lib import ObjectSharingScope

from kbig.compression.again import built_again
from kbig.compression.again import serialized
from kbig.compression.structured.backbone import backbone_like
from kbig.compression.structured.graph import graph_of
from kbig.compression.structured.graph import nodes_of
from kbig.compression.structured.narrow_encoder import narrowed
from kbig.models.copies import carry_assets
from kbig.models.copies import settle
from kbig.models.copies import uncompiled


@dataclasses.dataclass(frozen=True)
class Edits:
    """What to change in a model.

    Args:
        sizes: by the id of a layer, new numbers by their place in its
            configuration; of a model inside a model, by input and axis.
        dropped: ids of layers that give back their first argument instead.
        names: new names, by the id of a layer.
    """

    sizes: Mapping[int, Mapping[tuple, int]] = dataclasses.field(
        default_factory=dict
    )
    dropped: frozenset[int] = frozenset()
    names: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Copy:
    """A model built from another.

    Args:
        model: the new one.
        pairs: each weight of the other, and what it has become.
        layers: likewise, each layer, those within layers too.
    """

    model: keras.Model
    pairs: tuple[tuple[keras.Variable, keras.Variable], ...]
    layers: tuple[tuple[keras.Layer, keras.Layer], ...]

    def assign(
        self, value_of: Callable[[keras.Variable], np.ndarray] = np.asarray
    ) -> None:
        """Sets the weights of the new model from those of the other.

        Args:
            value_of: gives what is left of a weight.
        """
        for old, new in self.pairs:
            new.assign(value_of(old))
            new.trainable = old.trainable
        carry_assets(self.layers)
        settle(self.model)


def edited(model: keras.Model, edits: Edits) -> Copy:
    """Builds a model again, without its optimizer.

    Args:
        model: stays as it is.
        edits: what is to be different.

    Returns:
        A model of plain classes whose weights are yet to be assigned.
    """
    builder = _Builder(model, edits)
    with ObjectSharingScope():
        copied = builder.model(model)
    pairs, layers = [], []
    for old, new in builder.layers():
        pairs += zip(old.weights, new.weights, strict=True)
        layers += zip(old._flatten_layers(), new._flatten_layers())
    return Copy(copied, tuple(pairs), tuple(layers))


class _Builder:
    def __init__(self, model, edits: Edits):
        self._edits = edits
        leaves = list(_leaves(model))
        self._originals = {id(x): x for x in leaves}
        self._copies: dict = {}
        # Serialized all at once, so that what two layers share stays shared.
        with ObjectSharingScope(), uncompiled(model):
            configs = {id(x): serialized(x) for x in leaves}
        # Only now: a layer that turns up again is marked in its first config.
        self._configs = {
            key: _without_build_shapes(x) for key, x in configs.items()
        }

    def layers(self):
        """Pairs of an old layer with weights and its copy."""
        for key, old in self._originals.items():
            new = self._copies.get(key)
            if isinstance(old, keras.Layer) and isinstance(new, keras.Layer):
                yield old, new

    def model(self, model):
        if isinstance(model, keras.Sequential):
            return self._sequential(model)
        backbone = backbone_like(model, self._edits)
        if backbone is not None:
            self._adopt(model, backbone)
            return backbone
        inputs = keras.tree.map_structure(
            lambda x: self._input_like(model, x), model.input
        )
        outputs = model._run_through_graph(inputs, operation_fn=self.copy)
        return keras.Model(inputs, outputs, **_options(model))

    def copy(self, operation):
        key = id(operation)
        if key in self._edits.dropped:
            return _first_argument
        if key not in self._copies:
            is_model = graph_of(operation) is not None
            make = self.model if is_model else self._leaf
            self._copies[key] = make(operation)
        return self._copies[key]

    def _sequential(self, model):
        layers = [self._input_like(model, model.inputs[0])]
        layers += [
            self.copy(x)
            for x in model.layers
            if id(x) not in self._edits.dropped
        ]
        return keras.Sequential(layers, **_options(model))

    def _input_like(self, model, tensor):
        shape = list(tensor.shape)
        number = [id(x) for x in model.inputs].index(id(tensor))
        for entry, size in self._edits.sizes.get(id(model), {}).items():
            if entry[0] == number:
                shape[entry[1]] = size
        layer = tensor._keras_history.operation
        return keras.Input(
            batch_shape=shape,
            dtype=tensor.dtype,
            sparse=tensor.sparse,
            name=tensor.name,
            optional=getattr(layer, "optional", False),
        )

    def _leaf(self, operation):
        key = id(operation)
        config = copy.deepcopy(self._configs[key])
        if key in self._edits.sizes:
            sizes = self._edits.sizes[key]
            config = narrowed(config, operation, sizes)
            for entry, size in sizes.items():
                _set(config["config"], entry, size)
            config = _without_fixed_initializers(config)
        if key in self._edits.names:
            config["config"]["name"] = self._edits.names[key]
        return built_again(operation, config)

    def _adopt(self, model, backbone) -> None:
        """Takes the layers of a ready backbone for copies of the model's."""
        made = {x.name: x for x in backbone.layers}
        for layer in model.layers:
            name = self._edits.names.get(id(layer), layer.name)
            if id(layer) not in self._edits.dropped and name in made:
                self._copies[id(layer)] = made[name]
                made[name].trainable = layer.trainable


def _options(model) -> dict:
    # True would thaw the layers that are frozen.
    frozen = {} if model.trainable else {"trainable": False}
    return {"name": model.name, **frozen}


def _first_argument(*args, **kwargs):
    return args[0] if args else kwargs["inputs"]


def _leaves(model):
    """The layers and operations that are no models themselves, each once."""
    seen = set()
    for node in nodes_of(graph_of(model)):
        operation = node.operation
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if graph_of(operation) is None:
            yield operation
        else:
            yield from _leaves(operation)


def _without_build_shapes(config):
    """Lets layers find their shapes when they are called."""
    if isinstance(config, dict):
        return {
            key: _without_build_shapes(value)
            for key, value in config.items()
            if key != "build_config"
        }
    if isinstance(config, list):
        return [_without_build_shapes(x) for x in config]
    return config


def _without_fixed_initializers(config):
    """Replaces initializers that may hold arrays of the old shape.

    The weights are assigned anyway.
    """
    if isinstance(config, dict):
        return {
            key: "zeros"
            if key.endswith("_initializer") and not _fits_any_shape(value)
            else _without_fixed_initializers(value)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [_without_fixed_initializers(x) for x in config]
    return config


def _fits_any_shape(initializer) -> bool:
    if not isinstance(initializer, dict):
        return initializer is None
    value = initializer.get("config")
    is_own = initializer.get("module") == "keras.initializers"
    scalars = (bool, int, float, str, type(None))
    return (
        is_own
        and isinstance(value, dict)
        and all(isinstance(x, scalars) for x in value.values())
    )


def _set(config, entry: tuple, size: int) -> None:
    *parents, last = entry
    for key in parents:
        if isinstance(config[key], tuple):
            config[key] = list(config[key])
        config = config[key]
    config[last] = size
