import time

import pytest
import tensorflow as tf

from kbig import models
from kbig.training import bert_training_flops
from kbig.training import flops
from kbig.training import matmul_peak
from tests.contracts import check_usage_error


def test_counted_by_hand():
    # 1 layer of width 2, 3 tokens: query, key, value and output are each 4
    # products a token, the feedforward block 2 * 2 * 8; scores and weighted
    # sums 3 * 2 each. The head, at 1 token of 3: 4 and 2 * 5.
    products = 4 * 4 + 32 + 2 * 6 + (4 + 10) / 3
    assert bert_training_flops(1, 2, 3, 5, 1) == pytest.approx(6 * products)


def test_published_figure():
    counted = bert_training_flops(6, 384, 128, 30522, 20)
    assert counted == pytest.approx(78.4e6, rel=1e-3)


def test_equals_what_tensorflow_counts():
    """TensorFlow's profiler counts the forward pass of the graph."""
    size = {"num_layers": 2, "hidden_dim": 8, "num_heads": 2}
    length, predictions = 16, 3
    model = models.bert_masked_lm(models.bert(size, 40))
    specs = {
        name: tf.TensorSpec(
            (1, predictions if name == "mask_positions" else length), tf.int32
        )
        for name in (each.name for each in model.inputs)
    }
    graph = tf.function(model).get_concrete_function(specs).graph
    counted = sum(
        2 * _multiplications(operation)
        for operation in graph.get_operations()
        if operation.type in ("MatMul", "BatchMatMulV2", "Einsum")
    )
    expected = bert_training_flops(2, 8, length, 40, predictions) * length
    # A third of it is the forward pass.
    assert 3 * counted == pytest.approx(expected)


def _multiplications(operation):
    """Sizes of every index of a product, multiplied."""
    left, right = (each.shape.as_list() for each in operation.inputs)
    if operation.type == "Einsum":
        equation = operation.get_attr("equation").decode()
        indices = equation.split("->")[0].split(",")
        sizes = dict(zip(indices[0], left)) | dict(zip(indices[1], right))
    elif operation.type == "MatMul":
        columns = right[0 if operation.get_attr("transpose_b") else 1]
        sizes = dict(enumerate([*left, columns]))
    else:
        columns = right[-2 if operation.get_attr("adj_y") else -1]
        sizes = dict(enumerate([*left, columns]))
    total = 1
    for size in sizes.values():
        total *= size
    return total


def test_calls_do_not_count(monkeypatch):
    """A device that needs 25 us for a product, and 300 us for a call."""
    now, size = 0.0, 2048

    def products(dtype, size, length):
        def call():
            nonlocal now
            now += 300e-6 + 25e-6 * length

        return call

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(flops, "_products", products)
    peak = 2e-9 * size**3 / 25e-6
    assert 0.95 * peak < matmul_peak(size=size) < peak


def test_a_chain_is_as_long_as_it_says():
    """Of 16 products each takes as long as in 2 of them."""

    def best(length):
        call = flops._products("float32", 384, length)
        return min(flops._seconds(call) for _ in range(5)) / length

    assert 0.25 < best(16) / best(2) < 4


def test_small_products_are_nearly_as_fast():
    """One a call, the small ones take fifty times as long as they need."""
    small, large = (matmul_peak(size=n, seconds=0.1) for n in (64, 768))
    assert 0.1 < small / large < 10


def test_mistakes():
    check_usage_error(lambda: matmul_peak("int8"), "'int8'", "'bfloat16'")
    check_usage_error(lambda: bert_training_flops(0, 8, 8), "num_layers=0")
