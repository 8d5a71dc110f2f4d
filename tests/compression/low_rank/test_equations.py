import keras
import numpy as np
import pytest

from kbig.compression import factorize
from kbig.compression import plan_factorization
from kbig.compression.low_rank.equations import split_equation

# Equation, shape of the input, output_shape, bias_axes, axes of the kernel
# that meet the input.
PRODUCTS = {
    "dense": ("ab,bc->ac", (8,), 12, "c", 1),
    "steps": ("abc,cd->abd", (5, 8), (None, 12), "d", 1),
    "heads": ("abc,cde->abde", (5, 8), (None, 3, 4), "de", 1),
    "heads_back": ("abcd,cde->abe", (5, 2, 6), (None, 9), "e", 2),
    "left": ("...x,xy->...y", (5, 8), 12, "y", 1),
    "right": ("ab...,bc->ac...", (8, 3), 12, None, 1),
    "in_front": ("abc,cd->adb", (5, 8), (12, 5), "d", 1),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_two_thin_ones_compute_the_same(name):
    equation, shape, output_shape, bias_axes, met = PRODUCTS[name]
    layer = keras.layers.EinsumDense(
        equation,
        output_shape,
        bias_axes=bias_axes,
        activation="tanh",
        name="einsum",
    )
    model = keras.Sequential([keras.Input(shape), layer])
    generator = np.random.default_rng(0)
    kernel = layer.kernel.shape
    rows = int(np.prod(kernel[:met]))
    product = generator.normal(size=(rows, 2)) @ generator.normal(
        size=(2, int(np.prod(kernel)) // rows)
    )
    layer.kernel.assign(product.reshape(kernel))
    if bias_axes:
        layer.bias.assign(generator.normal(size=layer.bias.shape))
    x = generator.normal(size=(4, *shape)).astype("float32")
    smaller = factorize(model, rank=2)
    assert [type(x) for x in smaller.layers] == [keras.layers.EinsumDense] * 2
    assert smaller.count_params() < model.count_params()
    np.testing.assert_allclose(smaller(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    "equation",
    [
        "abc,bcd->abd",  # A matrix for each step.
        "abc,c->ab",  # A vector.
        "ab,ac->abc",  # Nothing is summed with the kernel.
        "ab,bc->ca",
    ],
)
def test_what_is_no_matrix_is_not_split(equation):
    assert split_equation(equation) is None


def test_a_matrix_for_each_step_is_reported():
    layer = keras.layers.EinsumDense("abc,bcd->abd", (5, 40), name="steps")
    model = keras.Sequential([keras.Input((5, 30)), layer])
    (row,) = plan_factorization(model, rank=2).layers
    assert row.rank is None and "abc,bcd->abd" in row.kept
