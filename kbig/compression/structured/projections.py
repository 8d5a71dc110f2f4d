"""Rules of layers that mix channels by a matrix: Dense and its kin."""

from kbig.compression.structured.elementwise import check_activation
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.trace import Call


def dense(call: Call) -> list[Flow]:
    """Reads the last axis and makes units in its place."""
    flow, layer = call.flow, call.layer
    units = call.produce(layer.units)
    check_activation(call, layer.activation, units)
    call.weight(
        layer.kernel,
        consumes={0: flow.units[-1]},
        produces={1: units},
        positions=call.trace.positions(flow.shape[1:-1]),
    )
    call.weight(layer.bias, produces={0: units})
    call.size(("units",), units)
    return [Flow(call.shapes[0], (*flow.units[:-1], units))]


def embedding(call: Call) -> list[Flow]:
    """Looks up the units of each token."""
    flow, layer = call.flow, call.layer
    units = call.produce(layer.output_dim)
    call.weight(layer.embeddings, produces={1: units})
    call.size(("output_dim",), units)
    return [Flow(call.shapes[0], (*flow.units, units))]


def einsum_dense(call: Call) -> list[Flow]:
    """Reads the axes that the equation sums over, makes those it adds."""
    flow, layer, (shape,) = call.flow, call.layer, call.shapes
    inputs, kernel, outputs = _letters(
        layer.equation, len(flow.shape), len(shape)
    )
    if any(x in inputs and x in outputs for x in kernel):
        return call.whole("which has a matrix for each entry of an axis")
    units_of = dict(zip(inputs, flow.units))
    made = [x for x in kernel if x in outputs]
    if len(made) != 1:
        return call.whole("which makes several axes at once")
    units = call.produce(layer.kernel.shape[kernel.index(made[0])])
    check_activation(call, layer.activation, units)
    call.weight(
        layer.kernel,
        consumes={
            axis: units_of[x] for axis, x in enumerate(kernel) if x in inputs
        },
        produces={kernel.index(made[0]): units},
        positions=_positions(call, outputs, made, shape),
    )
    _label_bias(call, layer, outputs, made[0], units)
    _label_size(call, layer, outputs, made[0], units)
    units_of[made[0]] = units
    return [Flow(shape, tuple(units_of[x] for x in outputs))]


def _letters(equation: str, input_rank: int, output_rank: int):
    """Gives every axis a letter, those under an ellipsis too."""
    operands, outputs = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    hidden = "0123456789"[: input_rank - len(inputs.replace("...", ""))]
    return inputs.replace("...", hidden), kernel, outputs.replace("...", hidden)


def _positions(call, outputs, made, shape) -> int:
    others = [n for x, n in zip(outputs, shape) if x not in made]
    return call.trace.positions(others[1:])


def _label_bias(call, layer, outputs, made, units) -> None:
    if layer.bias is None or made not in layer.bias_axes:
        return
    # The bias has the axes of the output from its first one on.
    axis = outputs.index(made) - len(outputs)
    call.weight(layer.bias, produces={axis: units})


def _label_size(call, layer, outputs, made, units) -> None:
    sizes = layer.get_config()["output_shape"]
    if isinstance(sizes, int):
        call.size(("output_shape",), units)
        return
    _, _, written = layer.equation.replace("->", ",").split(",")
    position = written.replace("...", "").strip().index(made)
    position -= 0 if written.strip().startswith("...") else 1
    if sizes[position] is not None:
        call.size(("output_shape", position), units)
