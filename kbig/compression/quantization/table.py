"""The table: how each type of layer computes in integers."""

import dataclasses
import importlib
from collections.abc import Callable
from collections.abc import Mapping

from kbig.compression.quantization import activations
from kbig.errors import UsageError


def standard(layer, quantize, *args, **kwargs):
    """Rounds what a layer is given, and what it gives.

    Args:
        layer: called.
        quantize: a `Quantize`.
        *args: of its call; the first holds the tensors.
        **kwargs: likewise.
    """
    inputs, *others = args
    outputs = layer.float_call(quantize.inputs(inputs), *others, **kwargs)
    return quantize.output(outputs, fixed=activations.range_of(layer))


def passing(layer, quantize, *args, **kwargs):
    """Gives values that it was given: they keep their range.

    Args:
        layer: called.
        quantize: a `Quantize`.
        *args: of its call; the first is a tensor.
        **kwargs: likewise.
    """
    inputs, *others = args
    inputs = quantize.inputs(inputs)
    return quantize.same(inputs, layer.float_call(inputs, *others, **kwargs))


def identical(layer, quantize, x, *args, **kwargs):
    """Gives what it is given, but for noise in training.

    What comes out of an island is not rounded on its way to another one.

    Args:
        layer: called.
        quantize: a `Quantize`.
        x: the tensor.
        *args: the rest of its call.
        **kwargs: likewise.
    """
    x = quantize.island_input(x)
    return quantize.same(x, layer.float_call(x, *args, **kwargs))


def supported(layer) -> str:
    """Every configuration of the layer is."""
    return ""


@dataclasses.dataclass(frozen=True, eq=False)
class LayerSpec:
    """How a type of layer computes in integers.

    Args:
        call: `(layer, quantize, *args, **kwargs)` to the outputs, in place of
            the layer's own `call`, which is `layer.float_call`. Every tensor
            that an integer kernel gives must go through `quantize`.
        weights: attributes that are stored as integers, and a function from
            the layer to the axes of each whose entries have a scale of their
            own.
        methods: likewise, in place of other methods of the layer.
        activation: whether `layer.activation` is the end of what it computes.
        normalized: the weight that scales of the layer's channels are
            multiplied into, as of a batch normalization behind it; empty
            where none can be.
        folds: from the layer, and the one whose output it reads, to whether
            runtimes fold it into that one, so that nothing is rounded
            between.
        repeats: every call has the same ranges, as the steps of a loop.
        obstacle: from the layer to why it cannot be quantized as it is
            configured; empty when it can.
        inside: attributes that hold layers which `call` or `methods` do
            without.
    """

    call: Callable | None = standard
    weights: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    methods: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    activation: bool = False
    normalized: str = ""
    folds: Callable = lambda layer, source: False
    repeats: bool = False
    obstacle: Callable = supported
    inside: tuple[str, ...] = ()


_TABLE: dict[type, LayerSpec] = {}
# Entries that need a package which takes seconds to import.
_LATER = {"keras_hub": "kbig.compression.quantization.hub"}


def register_layer(layer_class: type, spec: LayerSpec) -> None:
    """Tells how a type of layer is quantized.

    Args:
        layer_class: of the layers; not of those derived from it.
        spec: how.

    Raises:
        UsageError: for what is no class of layers.

    Example:
    ```python
    kbig.compression.register_layer(
        MyScale, kbig.compression.LayerSpec(weights={"scale": lambda x: ()})
    )
    ```
    """
    from keras.src.ops.operation import Operation

    if not (
        isinstance(layer_class, type) and issubclass(layer_class, Operation)
    ):
        raise UsageError(
            "Expected a class of layers. Received: layer_class="
            f"{layer_class!r}. Pass the class, not a layer."
        )
    _TABLE[layer_class] = spec


def spec_of(operation) -> LayerSpec | None:
    """How a layer is quantized, None where nobody has told."""
    layer_class = float_class(operation)
    package = layer_class.__module__.partition(".")[0]
    if package in _LATER:
        importlib.import_module(_LATER[package])
    return _TABLE.get(layer_class)


def float_class(operation) -> type:
    """The class that a layer had before it was quantized."""
    return getattr(type(operation), "float_class", type(operation))


def registered() -> dict[type, LayerSpec]:
    """The table, for tests that walk it."""
    return dict(_TABLE)
