"""Rules that make one operator of what Keras computes in several.

As in `kbig.export.onnx_rewrites`, each takes a graph and a node.
"""

import numpy as np
import onnx

from kbig.export.onnx_graph import Graph
from kbig.export.onnx_graph import attribute
from kbig.export.onnx_graph import matches
from kbig.export.onnx_graph import new_node


def masked_softmax(graph: Graph, node: onnx.NodeProto):
    """A mask that is added and multiplied: cheaper than two choices.

    Where all is masked either gives zeros.
    """
    scores = ("Where", "mask", "scores", "low")
    found = _found(graph, node, ("Where", "mask", ("Softmax", scores), "zero"))
    if found is None:
        return None
    low, zero = (graph.constant(found[x]) for x in ("low", "zero"))
    if low is None or zero is None or low.size > 1 or low > -1e8 or zero.any():
        return None
    softmax = graph.producer(node.input[1])
    hidden, shown, added, masked, shares = map(
        graph.new_name, ("hidden", "shown", "low", "scores", "shares")
    )
    to = {"to": onnx.TensorProto.FLOAT}
    inverse = graph.new_name("hidden")
    return [
        new_node("Cast", [found["mask"]], [shown], **to),
        new_node("Not", [found["mask"]], [inverse]),
        new_node("Cast", [inverse], [hidden], **to),
        new_node("Mul", [hidden, found["low"]], [added]),
        new_node("Add", [found["scores"], added], [masked]),
        new_node(
            "Softmax",
            [masked],
            [shares],
            axis=attribute(softmax, "axis", -1),
        ),
        new_node("Mul", [shares, shown], node.output),
    ]


def transposed_products(graph: Graph, node: onnx.NodeProto):
    """A product that is transposed afterwards, in the other order.

    Scores of attention come as keys times queries, transposed.
    """
    pattern = ("Transpose", ("MatMul", ("Transpose", "a"), ("Transpose", "b")))
    found = _found(graph, node, pattern)
    if found is None or not _swaps_last_two(attribute(node, "perm")):
        return None
    product = graph.producer(node.input[0])
    if len(graph.readers(product.output[0])) > 1:
        return None
    made, factors = [], []
    for name in reversed(product.input):
        transpose = graph.producer(name)
        *first, last_but_one, last = attribute(transpose, "perm")
        factors.append(graph.new_name(name))
        perm = [*first, last, last_but_one]
        made.append(
            new_node("Transpose", transpose.input, factors[-1:], perm=perm)
        )
    return [*made, new_node("MatMul", factors, node.output)]


def _swaps_last_two(perm) -> bool:
    rank = len(perm or ())
    return rank > 1 and list(perm) == [*range(rank - 2), rank - 1, rank - 2]


def _mean(x):
    return ("ReduceMean|GlobalAveragePool", x)


def _deviation(x):
    """The square root of the variance, and of epsilon."""
    centered = ("Sub", x, _mean(x))
    variance = _mean(("Mul", centered, centered))
    return ("Sqrt", ("Add", variance, "epsilon"))


# x a + (beta - mean a), a = gamma / deviation: that of Keras.
_SCALE = ("Mul", ("Reciprocal", _deviation("x")), "gamma")
_OF_KERAS = (
    "Add",
    ("Mul", "x", _SCALE),
    ("Add", ("Mul", ("Neg", _mean("x")), _SCALE), "beta"),
)
# (x - mean) / deviation gamma + beta: that of quantized models.
_CENTERED = ("Sub", "x", _mean("x"))
_INVERSE = ("Reciprocal", _deviation("x"))
_STEP_BY_STEP = (
    "Add",
    ("Mul", _CENTERED, ("Mul", _INVERSE, "gamma")),
    "beta",
)


def layer_normalizations(graph: Graph, node: onnx.NodeProto):
    """What ten operators compute as the one that there is since opset 17."""
    for pattern in (_OF_KERAS, _STEP_BY_STEP):
        found = _found(graph, node, pattern)
        if found is None or not _is_of_last_axis(graph, found["x"]):
            continue
        epsilon, gamma, beta = (
            graph.constant(found[x]) for x in ("epsilon", "gamma", "beta")
        )
        if any(x is None for x in (epsilon, gamma, beta)) or epsilon.size > 1:
            continue
        size = max(gamma.size, beta.size)
        if any(x.size != x.shape[-1:][0] for x in (gamma, beta) if x.ndim):
            continue
        scale, shift = (
            graph.add(np.broadcast_to(x.reshape(-1), size).copy(), found[name])
            for x, name in ((gamma, "gamma"), (beta, "beta"))
        )
        x, factor = _without_factor(graph, found["x"])
        return [
            new_node(
                "LayerNormalization",
                [x, scale, shift],
                node.output,
                axis=-1,
                epsilon=float(epsilon.reshape(())) / factor**2,
            )
        ]
    return None


def _without_factor(graph, x) -> tuple[str, float]:
    """What is normalized, without the factor that LiteRT needs."""
    for found in matches(graph, x, ("Mul", "x", "factor")):
        factor = graph.constant(found["factor"])
        if factor is not None and factor.size == 1 and factor.all():
            return found["x"], float(factor.reshape(()))
    return x, 1.0


def _is_of_last_axis(graph, x) -> bool:
    """Whether all means of a tensor are those of its last axis."""
    return all(
        _averages_last_axis(graph, reader)
        for reader in graph.readers(x)
        if reader.op_type in ("ReduceMean", "GlobalAveragePool")
    )


def _averages_last_axis(graph, node) -> bool:
    rank = graph.rank(node.input[0])
    if node.op_type == "GlobalAveragePool":
        return rank == 3
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1:
        axes = graph.constant(node.input[1])
    if axes is None or not attribute(node, "keepdims", 1):
        return False
    return list(axes) in ([-1], [(rank or 0) - 1])


def _found(graph, node, pattern) -> dict | None:
    if node.op_type not in pattern[0].split("|"):
        return None
    return next(matches(graph, node.output[0], pattern), None)
