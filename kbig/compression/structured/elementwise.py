"""Rules of what treats every entry, or every channel, by itself."""

import keras
import numpy as np

from kbig.compression.structured.flow import Flow
from kbig.compression.structured.trace import Call

# These read several units at once, or make another number of them.
_COUPLED = ("softmax", "log_softmax", "sparsemax", "glu")
_OTHER = ("get", "serialize", "deserialize")
_ACTIVATION_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)


def is_elementwise(activation) -> bool:
    """Tells whether an activation is known to treat units one by one.

    Args:
        activation: a function, a layer or None.

    Returns:
        False also for functions that Keras does not define.
    """
    if activation is None or type(activation) in _ACTIVATION_LAYERS:
        return True
    name = getattr(activation, "__name__", "")
    if name == "gelu_approximate":
        return activation.__module__.startswith("keras_hub.")
    own = getattr(keras.activations, name, None)
    return own is activation and name not in (*_COUPLED, *_OTHER)


def check_activation(call: Call, activation, units) -> None:
    """Keeps units that an activation couples.

    Args:
        call: of the layer that has it.
        activation: a function, a layer or None.
        units: that it is applied to.
    """
    if not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        call.pin(units, f"{call.path} applies {name}, which may couple units")


def unary(call: Call) -> list[Flow]:
    """The output has the units of the input."""
    return [Flow(shape, call.flow.units) for shape in call.shapes]


def dropout(call: Call) -> list[Flow]:
    """The shape of its noise may count units."""
    flow, shape = call.flow, call.layer.noise_shape or ()
    has_units = [flow.units[axis] is not None for axis in range(len(shape))]
    if any(x and n not in (None, 1) for x, n in zip(has_units, shape)):
        return call.whole("whose noise_shape counts the units")
    return unary(call)


def activation(call: Call) -> list[Flow]:
    """An `Activation` layer, whose function may couple units."""
    flow = call.flow
    for axis in flow.labelled():
        check_activation(call, call.layer.activation, flow.units[axis])
    return unary(call)


def prelu(call: Call) -> list[Flow]:
    """Each entry has a slope, but for the axes that share theirs."""
    flow = call.flow
    alpha = call.layer.alpha
    follows = {
        axis: flow.units[axis + 1]
        for axis, size in enumerate(alpha.shape)
        if size == flow.shape[axis + 1] and size != 1
    }
    call.weight(alpha, follows=follows)
    return unary(call)


def batch_normalization(call: Call) -> list[Flow]:
    """Each channel has a mean, a variance, a scale and an offset."""
    flow, layer = call.flow, call.layer
    units = flow.units[layer.axis]
    for variable in layer.weights:
        call.weight(variable, follows={0: units})
    return unary(call)


def normalization(call: Call) -> list[Flow]:
    """Statistics over the normalized axes couple the units along them."""
    flow, layer = call.flow, call.layer
    axes = getattr(layer, "axis", -1)
    axes = {x % len(flow.shape) for x in keras.tree.flatten(axes)}
    reason = "whose normalization couples units"
    free = [x for x in range(len(flow.shape)) if x not in axes]
    call.pin_axes(flow, f"read by {call.path}, {reason}", but=free)
    if layer.weights:
        call.trace.kept.setdefault(
            call.path, "its width stays: normalization couples units"
        )
    return unary(call)


def softmax(call: Call) -> list[Flow]:
    """A softmax couples the units along its axis."""
    flow = call.flow
    axes = keras.tree.flatten(call.layer.axis)
    axes = [x % len(flow.shape) for x in axes]
    for axis in axes:
        reason = f"read by {call.path}, whose softmax couples units"
        call.pin(flow.units[axis], reason)
    return unary(call)


def rescaling(call: Call) -> list[Flow]:
    """One factor and one offset for all; several need their channels."""
    if np.ndim(call.layer.scale) or np.ndim(call.layer.offset):
        return call.whole("which has a factor a channel")
    return unary(call)


def merge(call: Call) -> list[Flow]:
    """What is added, multiplied or compared goes together."""
    (shape,) = call.shapes
    return [Flow(shape, _broadcast(call, call.flows, shape))]


def _broadcast(call, flows, shape):
    units = []
    for offset in range(len(shape), 0, -1):
        sizes = [
            (flow.shape[-offset], flow.units[-offset])
            for flow in flows
            if len(flow.shape) >= offset
        ]
        units.append(_joined(call, sizes, shape[-offset]))
    return tuple(units)


def _joined(call, sizes, size):
    reason = f"read by {call.path} together with what is never removed"
    several = [units for length, units in sizes if length == size]
    for length, units in sizes:
        if length != size:
            call.pin(units, reason)
    if not several:
        return None
    result = several[0]
    for units in several[1:]:
        result = call.tie(result, units, reason)
    return result
