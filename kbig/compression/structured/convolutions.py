"""Rules of convolutions and of what works on each channel of an image."""

from kbig.compression.structured.elementwise import check_activation
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.trace import Call

_SPATIAL = "which mixes entries along a spatial axis"


def channel_axis(layer, rank: int) -> int:
    """Where a layer of images or sequences expects the channels.

    Args:
        layer: any; without a `data_format` the last axis.
        rank: of its input, the batch included.
    """
    first = getattr(layer, "data_format", None) == "channels_first"
    return 1 if first else rank - 1


def convolution(call: Call) -> list[Flow]:
    """Reads all input channels, makes one for each filter."""
    return _convolution(call, input_axis=-2, at_output=True)


def transposed_convolution(call: Call) -> list[Flow]:
    """As a convolution, with the axes of the kernel exchanged."""
    return _convolution(call, input_axis=-1, at_output=False)


def depthwise_convolution(call: Call) -> list[Flow]:
    """Makes some channels of each input channel; it follows its input."""
    flow, layer = call.flow, call.layer
    axis = _only_channels(call, flow)
    units = flow.units[axis]
    made = None if units is None else units.repeat(layer.depth_multiplier)
    check_activation(call, layer.activation, made)
    call.weight(
        layer.kernel,
        follows={-2: units},
        positions=call.trace.positions(_spatial(call, call.shapes[0])),
    )
    call.weight(layer.bias, follows={0: made})
    return [_with_channels(call.shapes[0], axis, made)]


def separable_convolution(call: Call) -> list[Flow]:
    """A depthwise convolution, then a mixture of channels."""
    flow, layer = call.flow, call.layer
    axis = _only_channels(call, flow)
    read, made = flow.units[axis], call.produce(layer.filters)
    between = None if read is None else read.repeat(layer.depth_multiplier)
    check_activation(call, layer.activation, made)
    positions = call.trace.positions(_spatial(call, call.shapes[0]))
    call.weight(layer.depthwise_kernel, follows={-2: read}, positions=positions)
    call.weight(
        layer.pointwise_kernel,
        consumes={-2: between},
        produces={-1: made},
        positions=positions,
    )
    call.weight(layer.bias, produces={0: made})
    call.size(("filters",), made)
    return [_with_channels(call.shapes[0], axis, made)]


def channelwise(call: Call) -> list[Flow]:
    """Pooling, padding, cropping, upsampling: the channels stay apart."""
    flow = call.flow
    axis = _only_channels(call, flow)
    return [_with_channels(call.shapes[0], axis, flow.units[axis])]


def global_pooling(call: Call) -> list[Flow]:
    """One number a channel is left."""
    flow, (shape,) = call.flow, call.shapes
    axis = _only_channels(call, flow)
    position = axis if call.layer.keepdims else 1
    return [_with_channels(shape, position, flow.units[axis])]


def _convolution(call, input_axis: int, at_output: bool):
    flow, layer, (shape,) = call.flow, call.layer, call.shapes
    axis = _only_channels(call, flow)
    read, made = flow.units[axis], call.produce(layer.filters)
    check_activation(call, layer.activation, made)
    positions = _spatial(call, shape if at_output else flow.shape)
    grouped = getattr(layer, "groups", 1) > 1
    if grouped:
        reason = f"{call.path} convolves groups of channels"
        call.pin(read, reason)
        call.pin(made, reason)
    output_axis = -3 - input_axis
    call.weight(
        layer.kernel,
        consumes={input_axis: None if grouped else read},
        produces={output_axis: made},
        positions=call.trace.positions(positions),
    )
    call.weight(layer.bias, produces={0: made})
    call.size(("filters",), made)
    return [_with_channels(shape, axis, made)]


def _only_channels(call, flow) -> int:
    axis = channel_axis(call.layer, len(flow.shape))
    call.pin_axes(flow, f"read by {call.path}, {_SPATIAL}", but=(axis,))
    return axis


def _spatial(call, shape):
    axis = channel_axis(call.layer, len(shape))
    return [x for i, x in enumerate(shape) if i not in (0, axis)]


def _with_channels(shape, axis: int, units) -> Flow:
    return Flow(
        shape, tuple(units if i == axis else None for i in range(len(shape)))
    )
