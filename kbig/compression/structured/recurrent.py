"""Rules of recurrent layers: a unit has an entry in every gate."""

import keras
import numpy as np

from kbig.compression.structured.elementwise import check_activation
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.trace import Call

_GATES = {
    keras.layers.LSTM: 4,
    keras.layers.GRU: 3,
    keras.layers.SimpleRNN: 1,
}


def recurrent(call: Call) -> list[Flow]:
    """LSTM, GRU and SimpleRNN."""
    if call.layer.stateful:
        return call.whole("which keeps its state between batches")
    flow, *states = _sequence_and_states(call)
    units = _label(call, flow)
    for state in states:
        units_or_none = state.units[-1]
        call.tie(units_or_none, units, f"a state of {call.path} must stay")
    return [
        Flow(shape, (*(None,) * (len(shape) - 1), units))
        for shape in call.shapes
    ]


def bidirectional(call: Call) -> list[Flow]:
    """Two recurrent layers, whose outputs are joined or merged."""
    layer = call.layer
    known = type(layer.forward_layer) in _GATES
    same = type(layer.forward_layer) is type(layer.backward_layer)
    if not (known and same) or layer.stateful or layer.return_state:
        return call.whole("which holds layers of another kind or their states")
    flows = _sequence_and_states(call)
    if len(flows) > 1 or layer.merge_mode is None:
        return call.whole("whose states or outputs are given apart")
    parts = [
        call.part(layer.forward_layer, flows, call.shapes, ("layer", "config")),
        call.part(
            layer.backward_layer,
            flows,
            call.shapes,
            ("backward_layer", "config"),
        ),
    ]
    forward, backward = (_label(x, flows[0]) for x in parts)
    # Whatever they are merged by, Keras takes both to be as wide.
    units = call.tie(forward, backward, f"merged by {call.path}")
    if layer.merge_mode == "concat":
        units = np.concatenate([forward, backward])
    (shape,) = call.shapes
    return [Flow(shape, (*(None,) * (len(shape) - 1), units))]


def _label(call, flow):
    layer, cell = call.layer, call.layer.cell
    units = call.produce(layer.units)
    for name in ("activation", "recurrent_activation"):
        check_activation(call, getattr(cell, name, None), units)
    call.pin_axes(flow, f"time in {call.path}", but=(len(flow.shape) - 1,))
    gates = np.tile(units, _GATES[type(layer)])
    steps = call.trace.positions(flow.shape[1:-1])
    call.weight(
        cell.kernel,
        consumes={0: flow.units[-1]},
        produces={1: gates},
        positions=steps,
    )
    call.weight(
        cell.recurrent_kernel,
        consumes={0: units},
        produces={1: gates},
        positions=steps,
    )
    call.weight(cell.bias, produces={-1: gates})
    call.size(("units",), units)
    return units


def _sequence_and_states(call) -> list[Flow]:
    given = call.kwargs.get("initial_state", call.args[1:2])
    states = [x for x in keras.tree.flatten(given) if isinstance(x, Flow)]
    sequence = call.args[0] if call.args else call.kwargs["sequences"]
    return [*keras.tree.flatten(sequence), *states]
