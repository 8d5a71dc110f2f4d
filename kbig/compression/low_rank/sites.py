"""Where a model holds matrices, and which of them can be replaced."""

import collections
import dataclasses
import math
from collections.abc import Iterator

import keras
from keras.src.models.functional import Functional
from keras.src.models.functional import functional_like_constructor

from kbig.compression.low_rank.kinds import kind_of
from kbig.compression.low_rank.kinds import obstacle
from kbig.models.layers import children

_MATRICES = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
)
_CELLS = (
    keras.layers.LSTMCell,
    keras.layers.GRUCell,
    keras.layers.SimpleRNNCell,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A layer that holds a matrix.

    Args:
        name: names of the layers that lead to it, joined with "/".
        layer: it.
        kept: why it must stay whole; empty when it need not.
    """

    name: str
    layer: keras.Layer
    kept: str

    @property
    def parameters(self) -> int:
        """Numbers in its matrices, those in biases left out."""
        own = own_variables(self.layer)
        return sum(math.prod(x.shape) for x in own if x.name != "bias")


def sites(model: keras.Model) -> list[Site]:
    """Finds the layers that hold matrices, in the order of the model.

    Args:
        model: a built Functional or Sequential model.

    Returns:
        Every Dense, EinsumDense, Embedding and recurrent cell, however deep.
    """
    shared = _shared_layers(model)
    found, seen = [], set()
    for name, layer, kept in _walk(model, ""):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if not kept and id(layer) in shared:
            kept = "shared with another layer or model"
        found.append(Site(name, layer, kept or obstacle(layer)))
    return found


def parameters_of(model: keras.Model) -> int:
    """Counts the numbers in a model's weights, shared ones once.

    Args:
        model: a built one.

    Returns:
        Their number.
    """
    unique = {id(weight): weight for weight in model.weights}
    return sum(math.prod(weight.shape) for weight in unique.values())


def is_open(layer: keras.Layer) -> bool:
    """Tells models whose configuration lists their layers.

    Args:
        layer: any layer.

    Returns:
        True for Functional and Sequential models, unless they are rebuilt
        from options of their own, as KerasHub's backbones are.
    """
    if isinstance(layer, Functional):
        return functional_like_constructor(type(layer))
    return type(layer) is keras.Sequential


def is_plain_encoder(layer: keras.Layer) -> bool:
    """Tells KerasHub's TransformerEncoder, without what derives from it.

    Args:
        layer: any layer.

    Returns:
        Whether it is one.
    """
    name = keras.saving.get_registered_name(type(layer))
    return name == "keras_hub>TransformerEncoder"


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Lists the weights of a layer that no layer in it holds.

    Args:
        layer: any layer.

    Returns:
        They, in the order in which the layer made them.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _walk(model, prefix) -> Iterator[tuple[str, keras.Layer, str]]:
    for layer in model.layers:
        name = f"{prefix}{layer.name}"
        if is_open(layer):
            yield from _walk(layer, f"{name}/")
        elif is_plain_encoder(layer):
            yield from _projections(layer, name)
        elif kind_of(layer):
            yield name, layer, ""
        else:
            yield from _closed(layer, name, _reason(layer, name))


def _projections(encoder, name):
    from kbig.compression.low_rank.encoder import PROJECTIONS
    from kbig.compression.low_rank.encoder import projection

    for own in PROJECTIONS:
        yield f"{name}/{own}", projection(encoder, own), ""


def _closed(layer, name, reason):
    """What is inside a layer whose configuration leaves no way in."""
    if isinstance(layer, _CELLS):
        yield name, layer, "a recurrent cell, kept whole"
    elif isinstance(layer, _MATRICES):
        yield name, layer, reason
    for child in children(layer):
        yield from _closed(child, f"{name}/{child.name}", reason)


def _reason(layer, name) -> str:
    if isinstance(layer, _MATRICES):
        return f"a {type(layer).__name__}, which may be no plain product"
    return f"inside {name}, a {type(layer).__name__}, which is kept whole"


def _shared_layers(model) -> set[int]:
    """Layers that several hold, and such as hold each other's weights."""
    parents = collections.defaultdict(set)
    owners = collections.defaultdict(set)
    pending, layers = [model], {}
    while pending:
        layer = pending.pop()
        if id(layer) in layers:
            continue
        layers[id(layer)] = layer
        for variable in own_variables(layer):
            owners[id(variable)].add(id(layer))
        for child in children(layer):
            # What is shared by design goes both ways through its factors.
            if not isinstance(child, keras.layers.ReversibleEmbedding):
                parents[id(child)].add(id(layer))
            pending.append(child)
    tied = (ids for ids in owners.values() if len(ids) > 1)
    held_twice = {child for child, ids in parents.items() if len(ids) > 1}
    inside = (
        {id(layer) for layer in layers[child]._flatten_layers()}
        for child in held_twice
    )
    return set().union(*tied, *inside)
