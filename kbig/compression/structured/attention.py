"""Rules of attention and of transformer blocks: heads and inner width."""

from kbig.compression.structured.elementwise import check_activation
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.trace import Call


def attention(call: Call) -> list[Flow]:
    """MultiHeadAttention, whose heads may go."""
    flows = _named(call, ("query", "value", "key"))
    query, value = flows["query"], flows["value"]
    key = flows.get("key", value)
    layer = call.layer
    is_plain = len(query.shape) == len(value.shape) == len(key.shape) == 3
    if not is_plain or layer._output_shape is not None:
        return call.whole("whose attention is not over one axis")
    for flow in (query, value, key):
        call.pin_axes(flow, f"steps in {call.path}", but=(2,))
    heads = _label(call, layer, (query, key, value), None)
    call.size(("num_heads",), heads)
    outputs = [Flow(call.shapes[0], (None, None, query.units[-1]))]
    outputs += [Flow(s, (None, heads, None, None)) for s in call.shapes[1:]]
    return outputs


def encoder(call: Call) -> list[Flow]:
    """TransformerEncoder: heads and feed-forward units may go."""
    layer = call.layer
    flow = _named(call, ("inputs",))["inputs"]
    reason = "layer normalization couples units"
    for given in call.flows:
        call.pin_axes(given, f"read by {call.path}, whose {reason}")
    call.trace.kept.setdefault(call.path, f"its width stays: {reason}")
    fixed = Flow.fixed(flow.shape)
    part = layer._self_attention_layer
    heads = _label(call, part, (fixed, fixed, fixed), part)
    call.size(("num_heads",), heads)
    _label_feed_forward(call, fixed)
    return [Flow.fixed(shape) for shape in call.shapes]


def _label_feed_forward(call, flow) -> None:
    inner = call.layer._feedforward_intermediate_dense
    outer = call.layer._feedforward_output_dense
    units = call.produce(inner.units, inner)
    check_activation(call, inner.activation, units)
    positions = call.trace.positions(flow.shape[1:-1])
    call.weight(
        inner.kernel, produces={1: units}, positions=positions, part=inner
    )
    call.weight(inner.bias, produces={0: units}, part=inner)
    call.weight(outer.kernel, consumes={0: units}, positions=positions)
    call.size(("intermediate_dim",), units)


def _label(call, layer, flows, part):
    heads = call.produce(layer._num_heads, part)
    query, key, value = flows
    projections = [
        (layer._query_dense, query),
        (layer._key_dense, key),
        (layer._value_dense, value),
    ]
    if layer._use_gate:
        projections.append((layer._gate_dense, query))
    for projection, flow in projections:
        call.weight(
            projection.kernel,
            consumes={0: flow.units[-1]},
            produces={1: heads},
            positions=call.trace.positions(flow.shape[1:-1]),
            part=part,
        )
        call.weight(projection.bias, produces={0: heads}, part=part)
    output = layer._output_dense
    steps = call.trace.positions(query.shape[1:-1])
    call.weight(
        output.kernel,
        consumes={0: heads},
        follows={2: query.units[-1]},
        positions=steps,
    )
    call.weight(output.bias, follows={0: query.units[-1]})
    # Scores, and the sums that they weight: each step with every other.
    pairs = steps * call.trace.positions(key.shape[1:-1])
    head_size = layer._key_dim + layer._value_dim
    call.operations(heads, 2.0 * pairs * head_size)
    return heads


def _named(call, names) -> dict[str, Flow]:
    given = {**dict(zip(names, call.args)), **call.kwargs}
    return {x: given[x] for x in names if isinstance(given.get(x), Flow)}
