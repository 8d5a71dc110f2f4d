"""Rules that say the same in forms which onnxruntime has kernels for.

Each takes a graph and a node, and returns the nodes to put in its place, or
None where it does not apply.
"""

from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from kbig.export.onnx_graph import Graph
from kbig.export.onnx_graph import attribute
from kbig.export.onnx_graph import bodies
from kbig.export.onnx_graph import matches
from kbig.export.onnx_graph import new_node

# What stays as it is: the grids of integers, and what is not a function.
_NOT_FOLDED = (
    "Bernoulli",
    "DequantizeLinear",
    "Multinomial",
    "QuantizeLinear",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
# A constant may become larger than what it is made of by so many numbers.
_GROWTH = 4096


def rewrite(model: onnx.ModelProto, rules: Iterable[Callable]) -> None:
    """Applies rules one after the other, each to every node.

    Args:
        model: is changed.
        rules: as of this module.
    """
    graph = Graph(model)
    for rule in rules:
        for node in list(graph.nodes):
            nodes = rule(graph, node)
            if nodes is not None:
                graph.replace(node, nodes)
        graph.prune()
    graph.write()


def constants(graph: Graph, node: onnx.NodeProto):
    """Computes what does not depend on the inputs."""
    values = {name: graph.constant(name) for name in node.input if name}
    if (
        node.op_type in _NOT_FOLDED
        or node.domain
        or bodies(node)
        or any(value is None for value in values.values())
    ):
        return None
    made = _computed(graph, node, values)
    limit = sum(x.size for x in values.values()) + _GROWTH
    if sum(x.size for x in made.values()) > limit:
        return None
    graph.constants.update(made)
    return []


def _computed(graph, node, values) -> dict[str, np.ndarray]:
    single = helper.make_graph(
        [node],
        "constant",
        [],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    single.input.extend(map(helper.make_empty_tensor_value_info, values))
    model = helper.make_model(single, opset_imports=graph.opsets)
    results = ReferenceEvaluator(model).run(None, values)
    return dict(zip(node.output, map(np.asarray, results)))


def matrix_products(graph: Graph, node: onnx.NodeProto):
    """A Gemm of a transposed kernel as a MatMul, which has int8 forms."""
    if node.op_type != "Gemm" or attribute(node, "transA", 0):
        return None
    kernel = graph.constant(node.input[1])
    factors = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    has_bias = len(node.input) > 2
    if kernel is None or factors[0] != 1 or (has_bias and factors[1] != 1):
        return None
    if attribute(node, "transB", 0):
        kernel = kernel.T
    name = graph.add(np.ascontiguousarray(kernel), node.input[1])
    if not has_bias:
        return [new_node("MatMul", [node.input[0], name], node.output)]
    product = graph.new_name(node.output[0])
    return [
        new_node("MatMul", [node.input[0], name], [product]),
        new_node("Add", [product, node.input[2]], node.output),
    ]


def dense_layers(graph: Graph, node: onnx.NodeProto):
    """The product of a layer without what makes a matrix of its input.

    Of `(rows, steps, k)` the converter makes `(rows * steps, k)`, multiplies,
    and computes the shape to go back to.
    """
    back, dropped = _without_squeeze(graph, node)
    if back is None:
        return None
    product, wanted = (graph.producer(x) for x in back.input)
    if product is None or product.op_type != "MatMul":
        return None
    flattened = graph.producer(product.input[0])
    kernel = graph.constant(product.input[1])
    if kernel is None or flattened is None or flattened.op_type != "Reshape":
        return None
    x = flattened.input[0]
    leading, rest = _kept_axes(graph, wanted, x)
    if not leading or any(axis < leading for axis in dropped):
        return None
    rest = [n for i, n in enumerate(rest, leading) if i not in dropped]
    made, x = _as_rows(graph, x, leading, kernel.shape[0])
    inputs = [x, product.input[1]]
    if rest == [kernel.shape[1]]:
        return [*made, new_node("MatMul", inputs, node.output)]
    result = graph.new_name(product.output[0])
    made.append(new_node("MatMul", inputs, [result]))
    return [*made, _reshaped(graph, result, [0] * leading + rest, node.output)]


def _without_squeeze(graph, node):
    """The Reshape that a node is or drops axes of, and these."""
    if node.op_type == "Reshape":
        readers = graph.readers(node.output[0])
        # The squeeze behind it is dealt with together with it.
        alone = not any(x.op_type == "Squeeze" for x in readers)
        return (node, ()) if alone else (None, ())
    if node.op_type != "Squeeze" or len(node.input) < 2:
        return None, ()
    made, axes = graph.producer(node.input[0]), graph.constant(node.input[1])
    if made is None or made.op_type != "Reshape" or axes is None:
        return None, ()
    return made, tuple(int(axis) for axis in axes)


def _kept_axes(graph, wanted, x) -> tuple[int, list[int]]:
    """How many axes of `x` a shape begins with, and what follows them."""
    while wanted is not None and wanted.op_type == "Cast":
        wanted = graph.producer(wanted.input[0])
    if wanted is None or wanted.op_type != "Concat":
        return 0, []
    axes = next(
        (
            graph.constant(found["axes"])
            for shape in (("Shape", "x"), ("Cast", ("Shape", "x")))
            for found in matches(
                graph, wanted.input[0], ("Gather", shape, "axes"), {"x": x}
            )
        ),
        None,
    )
    rest = [graph.constant(name) for name in wanted.input[1:]]
    if axes is None or any(value is None for value in rest):
        return 0, []
    if axes.ravel().tolist() != list(range(axes.size)):
        return 0, []
    return axes.size, [int(n) for value in rest for n in value.ravel()]


def _as_rows(graph, x, leading: int, size: int) -> tuple[list, str]:
    """Nodes that make one axis of those after the leading ones, and it."""
    unsqueezed = graph.producer(x)
    if unsqueezed is not None and unsqueezed.op_type == "Unsqueeze":
        axes = graph.constant(unsqueezed.input[1])
        if axes is not None and min(axes) >= leading:
            x = unsqueezed.input[0]
    if graph.rank(x) == leading + 1:
        return [], x
    rows = graph.new_name(x)
    return [_reshaped(graph, x, [0] * leading + [size], [rows])], rows


def _reshaped(graph, x, shape, outputs) -> onnx.NodeProto:
    """A Reshape; 0 is the size that the axis has."""
    shape = graph.add(np.array(shape, np.int64), "shape")
    return new_node("Reshape", [x, shape], outputs)
