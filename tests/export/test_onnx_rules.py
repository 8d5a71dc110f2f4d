"""Rules on small graphs, beside what numpy computes."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from kbig.export import onnx_fusions
from kbig.export import onnx_integers
from kbig.export import onnx_rewrites
from kbig.export import rounding
from kbig.export.onnx_file import foreign_operators
from kbig.export.onnx_file import weights_dtype
from kbig.export.onnx_graph import Graph
from kbig.export.onnx_graph import matches

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(2, 3, 4)).astype("float32")


def model_of(nodes, shape=X.shape, rank=3, **constants):
    """From `x` to `y`."""
    info = helper.make_tensor_value_info
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "test",
        [info("x", floats, shape)],
        [info("y", floats, [None] * rank)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def node(operator, inputs, output="y", **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def evaluated(model, x=X):
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def rewritten(model, *rules, x=X):
    """The operators afterwards; what is computed stays the same."""
    before = evaluated(model, x)
    onnx_rewrites.rewrite(model, rules)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-5)
    return [x.op_type for x in model.graph.node]


def normalization(gamma, axes=(-1,)):
    mean = {"axes": list(axes), "keepdims": 1}
    nodes = [
        node("ReduceMean", "x", "mean", **mean),
        node("Sub", "x mean", "centered"),
        node("Mul", "centered centered", "square"),
        node("ReduceMean", "square", "variance", **mean),
        node("Add", "variance epsilon", "positive"),
        node("Sqrt", "positive", "deviation"),
        node("Reciprocal", "deviation", "inverse"),
        node("Mul", "inverse gamma", "scale"),
        node("Mul", "centered scale", "scaled"),
        node("Add", "beta scaled"),
    ]
    return model_of(
        nodes,
        epsilon=np.float32(1e-3),
        gamma=gamma,
        beta=np.arange(4, dtype="float32"),
    )


def test_a_layer_normalization_is_one_operator():
    gamma = np.array([1, 2, 3, 4], "float32")
    model = normalization(gamma)
    rule = onnx_fusions.layer_normalizations
    assert rewritten(model, rule) == ["LayerNormalization"]
    mean, variance = X.mean(-1, keepdims=True), X.var(-1, keepdims=True)
    expected = (X - mean) / np.sqrt(variance + 1e-3) * gamma + np.arange(4)
    np.testing.assert_allclose(evaluated(model), expected, atol=1e-5)


def test_a_normalization_of_other_axes_stays():
    model = normalization(np.ones(4, "float32"), axes=(1,))
    rule = onnx_fusions.layer_normalizations
    assert "LayerNormalization" not in rewritten(model, rule)


def test_scores_are_multiplied_in_the_other_order():
    nodes = [
        node("Transpose", "x", "keys", perm=[1, 0, 2]),
        node("Transpose", "x", "queries", perm=[1, 2, 0]),
        node("MatMul", "keys queries", "product"),
        node("Transpose", "product", perm=[0, 2, 1]),
    ]
    rule = onnx_fusions.transposed_products
    found = rewritten(model_of(nodes), rule)
    assert found == ["Transpose", "Transpose", "MatMul"]


def test_a_factor_that_turns_the_sign_stays():
    model = normalization(np.ones(4, "float32"))
    negative = node("Mul", "x minus", "turned")
    for part in model.graph.node:
        part.input[:] = [
            "turned" if name == "x" else name for name in part.input
        ]
    model.graph.node.insert(0, negative)
    minus = numpy_helper.from_array(np.float32(-2), "minus")
    model.graph.initializer.append(minus)
    expected = evaluated(model)
    rewritten(model, onnx_fusions.layer_normalizations)
    np.testing.assert_allclose(evaluated(model), expected, atol=1e-5)


@pytest.mark.parametrize(
    "low, fused", [(-1e9, True), (-1.0, False), (-np.inf, False)]
)
def test_a_mask_that_hides_is_added(low, fused):
    nodes = [
        node("Greater", "x limit", "mask"),
        node("Where", "mask x low", "scores"),
        node("Softmax", "scores", "shares", axis=-1),
        node("Where", "mask shares zero"),
    ]
    limits = np.array([-0.5, 0, 0.5, 9], "float32")
    model = model_of(
        nodes, limit=limits, low=np.float32(low), zero=np.float32(0)
    )
    found = rewritten(model, onnx_fusions.masked_softmax)
    assert ("Where" not in found) == fused


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_becomes_a_product_that_int8_knows(transposed):
    kernel = GENERATOR.normal(size=(4, 5)).astype("float32")
    gemm = node("Gemm", "x kernel bias", transB=transposed)
    model = model_of(
        [gemm],
        (3, 4),
        2,
        kernel=kernel.T.copy() if transposed else kernel,
        bias=np.arange(5, dtype="float32"),
    )
    rule = onnx_rewrites.matrix_products
    assert rewritten(model, rule, x=X[0]) == ["MatMul", "Add"]


def test_a_layer_multiplies_without_flattening():
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape axes", "leading"),
        node("Concat", "leading units", "back", axis=0),
        node("Reshape", "x flat", "rows"),
        node("MatMul", "rows kernel", "product"),
        node("Reshape", "product back"),
    ]
    constants = {
        "axes": np.array([0, 1]),
        "units": np.array([5]),
        "flat": np.array([-1, 4]),
        "kernel": GENERATOR.normal(size=(4, 5)).astype("float32"),
    }
    model = model_of(nodes, **constants)
    rule = onnx_rewrites.dense_layers
    assert rewritten(model, rule) == ["MatMul"]
    nodes[1] = node("Gather", "shape swapped", "leading")
    constants["swapped"] = np.array([1, 0])
    model = model_of(nodes, **constants)
    assert rewritten(model, rule).count("Reshape") == 2


def test_constants_are_computed():
    nodes = [node("Add", "one one", "two"), node("Mul", "x two")]
    model = model_of(nodes, one=np.float32(1))
    assert rewritten(model, onnx_rewrites.constants) == ["Mul"]


def test_matching_tries_either_order():
    nodes = [node("Mul", "x scale", "scaled"), node("Add", "shift scaled")]
    ones = np.ones(4, "float32")
    graph = Graph(model_of(nodes, scale=ones, shift=ones))
    (found,) = matches(
        graph, "y", ("Add", ("Mul", "scale", "a"), "b"), {"scale": "scale"}
    )
    assert (found["a"], found["b"]) == ("x", "shift")
    assert not list(matches(graph, "y", ("Add", ("Mul", "a", "a"), "b")))


def test_the_grid_of_a_weight_is_found():
    integers = GENERATOR.integers(-126, 127, (5, 3))
    integers[0] = 127  # The largest magnitude is on the grid.
    steps = np.array([0.01, 1.0, 3e-5], "float32")
    weight = (integers * steps).astype("float32")
    found, scale = onnx_integers.find_grid(weight, 1)
    np.testing.assert_array_equal(found, integers)
    np.testing.assert_allclose(scale, steps, rtol=1e-6)
    assert onnx_integers.find_grid(weight + 0.003, 1) is None
    assert onnx_integers.find_grid(weight, 0) is None


def test_rounding_is_to_the_nearest_of_a_column():
    weight = np.array([[0.5, -127.0, 0], [127.0, 3.2, 0]], "float32")
    integers, scale = rounding.rounded_weight(weight, 1)
    np.testing.assert_array_equal(integers, [[0, -127, 0], [127, 3, 0]])
    np.testing.assert_allclose(scale, [1, 1, 1 / 127])


def test_operators_that_onnxruntime_lacks_are_named():
    nodes = [
        node("Erfc", "x", "a"),
        node("Gelu", "a", "b", domain="com.microsoft"),
        node("Own", "b", domain="com.example"),
    ]
    model = model_of(nodes)
    for domain in ("com.microsoft", "com.example"):
        model.opset_import.append(helper.make_opsetid(domain, 1))
    assert foreign_operators(model) == ["Erfc", "com.example.Own"]


def test_the_type_of_weights_is_read_off_the_file():
    floats = model_of([node("MatMul", "x w")], w=np.ones((4, 99), "float32"))
    assert weights_dtype(floats.SerializeToString()) == "float32"
    nodes = [node("Cast", "w", "f", to=1), node("MatMul", "x f")]
    integers = model_of(nodes, w=np.ones((4, 99), "int8"))
    assert weights_dtype(integers.SerializeToString()) == "int8"
