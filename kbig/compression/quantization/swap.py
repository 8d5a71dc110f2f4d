"""A layer becomes its quantized self in place: same weights, other class.

Cloning and wrapping cannot reach the layers that an attention or an encoder
holds. What a class computes can be replaced wherever the layer is.
"""

import dataclasses
import functools

from kbig.compression.quantization import activations
from kbig.compression.quantization import modes
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import float_class


@dataclasses.dataclass
class State:
    """What a quantized layer knows beyond its weights.

    Args:
        bits: of its weights.
        islands: steps that integers hold badly are computed in float.
        ranges: of its tensors, by name.
        normalization: the layer that is folded into it.
        is_folded: it is folded itself.
    """

    bits: int
    islands: bool
    ranges: dict = dataclasses.field(default_factory=dict)
    normalization: object = None
    is_folded: bool = False


def swap(operation, spec: LayerSpec, bits: int, islands: bool) -> None:
    """Makes a layer ask the mode in force for weights and ranges.

    Args:
        operation: a built layer, or an operation of `keras.ops`.
        spec: of its type.
        bits: of its weights.
        islands: as of `State`.
    """
    operation.__class__ = _quantized_class(float_class(operation), spec)
    vars(operation)["quantization"] = State(bits, islands)
    if hasattr(operation, "use_cudnn"):
        # Its kernel would compute the whole layer without the cell.
        operation.use_cudnn = False


@functools.cache
def _quantized_class(base: type, spec: LayerSpec) -> type:
    """A class that differs from a layer's only in what it computes."""
    members = {
        "__doc__": base.__doc__,
        "__module__": base.__module__,
        "float_class": base,
        "float_call": base.call,
        "quantization_spec": spec,
    }
    for name, channels in spec.weights.items():
        members[name] = _weight(base, name, channels)
    if spec.normalized:
        members["bias"] = _bias()
        members["use_bias"] = _use_bias()
    if spec.activation:
        members["activation"] = _activation()
    if spec.call is not None:
        members["call"] = _replaced(base.call, spec, spec.call)
    for name, function in spec.methods.items():
        members[name] = _replaced(getattr(base, name), spec, function)
    return type(base.__name__, (base,), members)


def _replaced(original, spec, function):
    @functools.wraps(original)
    def method(self, *args, **kwargs):
        mode = modes.current()
        if mode is None:
            return original(self, *args, **kwargs)
        with mode.calling(self, spec) as quantize:
            return function(self, quantize, *args, **kwargs)

    return method


def _weight(base, name, channels) -> property:
    """The weight as it is, but rounded for the layer's own computation."""
    own = getattr(base, name, None)

    def value(self):
        if isinstance(own, property):
            return own.fget(self)
        return vars(self).get(name)

    def get(self):
        mode = modes.current()
        if mode is None:
            return value(self)
        return mode.weight(self, name, lambda: value(self), channels(self))

    def set_(self, value):
        if isinstance(own, property):
            own.fset(self, value)
        else:
            vars(self)[name] = value

    return property(get, set_)


def _activation() -> property:
    """The activation function, rounded where a kernel of its own computes."""

    def get(self):
        function = vars(self)["activation"]
        mode = modes.current()
        quantize = mode and mode.quantize_of(self)
        if not quantize or activations.found(function).folded:
            return function
        return functools.partial(
            activations.activate, quantize, "activation", function
        )

    return property(get, _sets("activation"))


def _bias() -> property:
    """The bias; in what is written, with what is folded into the layer."""

    def get(self):
        mode = modes.current()
        value = vars(self)["bias"]
        return value if mode is None else mode.bias(self, value)

    return property(get, _sets("bias"))


def _use_bias() -> property:
    def get(self):
        return vars(self)["use_bias"] or self.bias is not None

    return property(get, _sets("use_bias"))


def _sets(name):
    def set_(self, value):
        vars(self)[name] = value

    return set_
