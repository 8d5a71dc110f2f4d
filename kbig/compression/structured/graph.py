"""Walks the graph of a model, nested ones too, and applies the rules."""

from collections.abc import Mapping
from typing import Any

import keras
from keras.src.models.functional import Functional

from kbig.compression.structured.backbone import is_pooler
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.rules import rule_of
from kbig.compression.structured.trace import Call
from kbig.compression.structured.trace import Trace
from kbig.errors import UsageError


def traced(model: keras.Model, free_dimension: int) -> Trace:
    """Follows the units of all layers through a model.

    Args:
        model: Functional or Sequential, built.
        free_dimension: what a dimension that the model leaves free counts
            as.

    Returns:
        What can go, where it shows up, and what stays and why.

    Raises:
        UsageError: there is no graph to follow.
    """
    graph = graph_of(model)
    if graph is None:
        raise _without_graph(model)
    trace = Trace(free_dimension)
    inputs = [Flow.fixed(x.shape) for x in graph.inputs]
    for output in _run(graph, inputs, trace, ()):
        for units in output.units:
            if units is not None:
                trace.units.pin(units, "an output of the model")
    return trace


def _without_graph(model) -> UsageError:
    text = (
        "`model` must be a Functional or Sequential model that is built: only "
        f"then is it known which layer reads which. Received: model={model!r}"
    )
    if isinstance(model, keras.Sequential) and not model.built:
        return UsageError(
            f"{text}, not built. Call it on data first, or give it a "
            "`keras.Input`."
        )
    return UsageError(
        f"{text} ({type(model).__name__}). Build the same from `keras.Input` "
        "as `keras.Model(inputs, outputs)`."
    )


def graph_of(model) -> Functional | None:
    """The graph that a layer computes.

    Args:
        model: any layer.

    Returns:
        None for what is no model, is not built, or computes something of its
        own.
    """
    if isinstance(model, keras.Sequential):
        is_plain = type(model).call is keras.Sequential.call
        return model._functional if is_plain and model.built else None
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def nodes_of(graph: Functional) -> list:
    """The calls of a graph, each after those that it reads.

    Args:
        graph: from `graph_of`.
    """
    by_depth = graph._nodes_by_depth
    nodes = [x for d in sorted(by_depth, reverse=True) for x in by_depth[d]]
    return [x for x in nodes if x.operation and not x.is_input]


def _run(graph, inputs, trace, prefix) -> list[Flow]:
    flows: dict[int, Any] = dict(zip(map(id, graph.inputs), inputs))
    for node in nodes_of(graph):
        args, kwargs = node.arguments.fill_in(flows)
        operation = node.operation
        inner = graph_of(operation)
        if inner is not None:
            given = _in_order(operation, inner, args, kwargs)
            path = (*prefix, operation.name)
            _label_inputs(operation, given, trace, "/".join(path))
            outputs = _run(inner, given, trace, path)
        else:
            call = _call(node, args, kwargs, trace, prefix)
            outputs = rule_of(operation)(call)
            if is_pooler(graph, operation.name):
                reason = "a BertBackbone has a pooler of its own width"
                call.pin(outputs[0].units[-1], reason)
        flows.update(zip(map(id, node.outputs), outputs))
    return [flows[id(x)] for x in graph.outputs]


def _call(node, args, kwargs: Mapping, trace, prefix) -> Call:
    args, kwargs = keras.tree.map_structure(_as_flow, (args, dict(kwargs)))
    return Call(
        trace,
        node.operation,
        "/".join((*prefix, node.operation.name)),
        tuple(args),
        kwargs,
        tuple(tuple(x.shape) for x in node.outputs),
        owner=node.operation,
    )


def _as_flow(x):
    """Arrays and tensors among the arguments stay as they are."""
    if isinstance(x, Flow) or not getattr(x, "shape", ()):
        return x
    return Flow.fixed(tuple(x.shape))


def _in_order(model, graph, args, kwargs) -> list[Flow]:
    given = args[0] if args else kwargs["inputs"]
    if isinstance(given, dict) and isinstance(model.input, dict):
        given = {name: given[name] for name in model.input}
    elif isinstance(given, dict):
        given = [given[x.name] for x in graph.inputs]
    return keras.tree.flatten(given)


def _label_inputs(model, flows, trace, path: str) -> None:
    """Notes the sizes of what a model inside another one is given."""
    sizes = trace.sizes.setdefault(id(model), {})
    for number, flow in enumerate(flows):
        for axis, units in enumerate(flow.units):
            key = number, axis
            known = sizes.setdefault(key, units)
            if known is units:
                continue
            if known is None or units is None:
                reason = f"{path} is shared with what must stay"
                for x in (known, units):
                    if x is not None:
                        trace.units.pin(x, reason)
            else:
                trace.units.tie(known, units)
