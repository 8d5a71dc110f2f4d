"""An ONNX graph that can be asked, matched and changed."""

import itertools
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper

_COMMUTATIVE = ("Add", "Mul")


class Graph:
    """The nodes and constants of a model, and who makes and reads what.

    Args:
        model: an `onnx.ModelProto`; it is changed by `write` alone.
    """

    def __init__(self, model: onnx.ModelProto):
        graph = model.graph
        self._model = model
        self.nodes = list(graph.node)
        self.outputs = [x.name for x in graph.output]
        self.constants = {
            x.name: numpy_helper.to_array(x) for x in graph.initializer
        }
        self._ranks = _ranks(model)
        self._numbers = itertools.count()
        self._index()

    @property
    def opsets(self) -> list:
        """The operator sets of the model."""
        return list(self._model.opset_import)

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a tensor that never changes, otherwise None."""
        return self.constants.get(name)

    def rank(self, name: str) -> int | None:
        """How many axes a tensor has; None where nobody knows."""
        if name in self.constants:
            return self.constants[name].ndim
        return self._ranks.get(name)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor; None of inputs and constants."""
        return self._producers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, also within a loop."""
        return self._readers.get(name, [])

    def add(self, value: np.ndarray, hint: str) -> str:
        """Adds a constant under a name that begins with a hint."""
        name = self.new_name(hint)
        self.constants[name] = value
        return name

    def new_name(self, hint: str) -> str:
        """A name that no tensor has."""
        return f"{hint}__kbig_{next(self._numbers)}"

    def replace(self, node: onnx.NodeProto, nodes: list) -> None:
        """Puts nodes in the place of one; what it made, they must make."""
        place = next(i for i, x in enumerate(self.nodes) if x is node)
        self.nodes[place : place + 1] = nodes
        self._index()

    def begin_with(self, node: onnx.NodeProto) -> None:
        """Adds a node that reads nothing but constants."""
        self.nodes.insert(0, node)
        self._index()

    def prune(self) -> None:
        """Drops what nothing reads, and what only gives a second name."""
        for node in self.nodes:
            if node.op_type == "Identity":
                self._rename(node.output[0], node.input[0])
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(names_read(node))
        self.nodes = kept[::-1]
        self.constants = {
            k: v for k, v in self.constants.items() if k in needed
        }
        self._index()

    def write(self) -> None:
        """Puts nodes and constants into the model."""
        for node in self.nodes:
            node.name = node.output[0]  # Names must differ.
        graph = self._model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            numpy_helper.from_array(v, k) for k, v in self.constants.items()
        )

    def _rename(self, old: str, new: str) -> None:
        readers = self.readers(old)
        if old in self.outputs or any(map(bodies, readers)):
            return
        for reader in readers:
            names = [new if name == old else name for name in reader.input]
            reader.input[:] = names
        self._index()

    def _index(self) -> None:
        self._producers = {x: node for node in self.nodes for x in node.output}
        self._readers = {}
        for node in self.nodes:
            for name in dict.fromkeys(names_read(node)):
                self._readers.setdefault(name, []).append(node)


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        x.name: len(x.type.tensor_type.shape.dim)
        for x in (*graph.input, *graph.value_info, *graph.output)
        if x.type.tensor_type.HasField("shape")
    }


def names_read(node: onnx.NodeProto) -> list[str]:
    """Names that a node reads: its inputs, and what its loop body does.

    Args:
        node: of a graph.
    """
    names = [name for name in node.input if name]
    for body in bodies(node):
        for inner in body.node:
            names += names_read(inner)
        # A loop may hand on what lies outside of it.
        names += [x.name for x in body.output]
    return names


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs within a node, as of a loop.

    Args:
        node: of a graph.
    """
    return [x.g for x in node.attribute if x.type == onnx.AttributeProto.GRAPH]


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of bodies too.

    Args:
        graph: of a model.
    """
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from all_nodes(body)


def new_node(operator, inputs, outputs, **attributes) -> onnx.NodeProto:
    """Makes a node of a standard operator.

    Args:
        operator: its type.
        inputs: names of the tensors that it reads.
        outputs: of those that it makes.
        **attributes: by name.
    """
    return helper.make_node(operator, list(inputs), list(outputs), **attributes)


def attribute(node: onnx.NodeProto, name: str, default=None):
    """An attribute of a node.

    Args:
        node: of a graph.
        name: of the attribute.
        default: when the node does not have it.
    """
    for found in node.attribute:
        if found.name == name:
            return helper.get_attribute_value(found)
    return default


def matches(graph: Graph, name: str, pattern, bound=None) -> Iterator[dict]:
    """Finds how a tensor was made.

    Args:
        graph: that it belongs to.
        name: of the tensor.
        pattern: a string stands for any tensor, wherever it occurs for the
            same one; a tuple for what an operator makes, or one of several,
            with patterns for its inputs: `("Mul|Div", "x", "scale")`. Factors
            and summands may be in either order.
        bound: tensors that strings stand for already.

    Yields:
        What every string stands for.

    Example:
    ```python
    next(matches(graph, "y", ("Add", ("MatMul", "x", "kernel"), "bias")), None)
    ```
    """
    bound = bound or {}
    if isinstance(pattern, str):
        if bound.get(pattern, name) == name:
            yield {**bound, pattern: name}
        return
    operators, *patterns = pattern
    node = graph.producer(name)
    if node is None or node.op_type not in operators.split("|"):
        return
    names = list(node.input)[: len(patterns)]
    orders = [patterns]
    if node.op_type in _COMMUTATIVE:
        orders.append(patterns[::-1])
    for order in orders:
        if len(order) == len(names):
            yield from _all_match(graph, names, order, bound)


def _all_match(graph, names, patterns, bound) -> Iterator[dict]:
    if not names:
        yield bound
        return
    for found in matches(graph, names[0], patterns[0], bound):
        yield from _all_match(graph, names[1:], patterns[1:], found)
