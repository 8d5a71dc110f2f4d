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
    if low is None or zero is None or low.size > 1 or zero.any():
        return None
    # Zero times minus infinity is no number.
    if low > -1e8 or not np.isfinite(low).all():
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
    perms = [attribute(graph.producer(x), "perm") for x in product.input]
    if len(graph.readers(product.output[0])) > 1 or None in perms:
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


# What the deviation is divided by, and the weight of each channel.
_SCALE = (
    "Mul",
    ("Reciprocal", ("Sqrt", ("Add", "variance", "epsilon"))),
    "gamma",
)
_CENTERED = ("Sub", "x", "mean")
_NORMALIZATIONS = (
    # x a + (beta - mean a): that of Keras.
    (
        "Add",
        ("Mul", "x", _SCALE),
        ("Add", ("Mul", ("Neg", "mean"), _SCALE), "beta"),
    ),
    # (x - mean) a + beta: that of quantized models.
    ("Add", ("Mul", _CENTERED, _SCALE), "beta"),
)


def layer_normalizations(graph: Graph, node: onnx.NodeProto):
    """What ten operators compute as the one that there is since opset 17."""
    for pattern in _NORMALIZATIONS:
        found = _found(graph, node, pattern)
        if found is None or not _normalizes_last_axis(graph, found):
            continue
        epsilon, gamma, beta = (
            graph.constant(found[x]) for x in ("epsilon", "gamma", "beta")
        )
        if epsilon is None or epsilon.size > 1:
            continue
        if not (_is_of_channels(gamma) and _is_of_channels(beta)):
            continue
        x, factor = _without_factor(graph, found["x"])
        scale = graph.add(gamma.ravel(), found["gamma"])
        shift = graph.add(beta.ravel(), found["beta"])
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


def _is_of_channels(weight) -> bool:
    """Whether all of a weight lies along its last axis."""
    return (
        weight is not None
        and weight.ndim > 0
        and weight.size == weight.shape[-1]
    )


def _normalizes_last_axis(graph, found) -> bool:
    """Whether mean and variance are what their names say."""
    mean, variance = (graph.producer(found[x]) for x in ("mean", "variance"))
    if not all(
        _averages_last_axis(graph, average) for average in (mean, variance)
    ):
        return False
    squares = ("Mul", _CENTERED, _CENTERED)
    return mean.input[0] == found["x"] and any(
        matches(graph, variance.input[0], squares, found)
    )


def _without_factor(graph, x) -> tuple[str, float]:
    """What is normalized, without the factor that LiteRT needs."""
    for found in matches(graph, x, ("Mul", "x", "factor")):
        factor = graph.constant(found["factor"])
        # A negative one would turn the sign.
        if factor is not None and factor.size == 1 and (factor > 0).all():
            return found["x"], float(factor.reshape(()))
    return x, 1.0


def _averages_last_axis(graph, node) -> bool:
    if node is None or node.op_type not in ("GlobalAveragePool", "ReduceMean"):
        return False
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
