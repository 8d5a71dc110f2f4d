"""What is kept whole, what is refused, and what the messages say."""

import keras
import numpy as np
import pytest

from kbig import compression
from kbig import models
from tests.compression.low_rank.models import bert
from tests.contracts import check_usage_error


def mlp():
    return models.mlp((8, 8, 1), 10, hidden_dims=(32, 16))


def planned(**options):
    return lambda: compression.plan_factorization(mlp(), **options)


def unbuilt():
    return keras.Sequential([keras.layers.Dense(4)])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(20)

    def call(self, inputs):
        return self.dense(inputs)


def subclassed():
    model = Subclassed()
    model(np.ones((2, 20)))
    return model


def not_finite():
    model = mlp()
    model.get_layer("hidden_0").kernel.assign(np.full((64, 32), np.nan))
    return model


# All kernels at rank 1: 64 + 32, 32 + 16 and 16 + 10; biases 58.
MISTAKES = {
    "none": (planned(), "rank=None, energy=None, parameters=None"),
    "two": (planned(rank=2, energy=0.5), "rank=2, energy=0.5"),
    "rank": (planned(rank=0), "rank=0"),
    "rank-fraction": (planned(rank=1.5), "rank=1.5"),
    "rank-mapping": (planned(rank={"hidden": 0}), "rank['hidden']=0"),
    "rank-empty": (planned(rank={}), "rank=[]"),
    "energy-zero": (planned(energy=0), "energy=0"),
    "energy-bool": (planned(energy=True), "energy=True"),
    "energy-large": (planned(energy=1.01), "energy=1.01"),
    "budget-one": (planned(parameters=1.0), "parameters=1.0", "0.5"),
    "budget-negative": (planned(parameters=-5), "parameters=-5"),
    "budget-least": (planned(parameters=200), "parameters=200", "228 of 2,778"),
    "budget-layers": (
        planned(parameters=0.3, layers="logits"),
        # 16 * 10 - 26 are saved.
        "2,644 of 2,778",
    ),
    "budget-met": (planned(parameters=2778), "parameters=2778", "2,778"),
    "pattern": (planned(rank=2, layers="hiden"), "'hiden'", "hidden_0"),
    "pattern-rank": (planned(rank={"logit": 2}), "'logit'", "logits"),
    "pattern-number": (planned(rank=2, layers=5), "layers=5"),
    "pattern-none": (planned(rank=2, layers=[]), "layers=[]"),
    "unbuilt": (
        lambda: compression.factorize(unbuilt(), rank=2),
        "not built",
        "keras.Input",
    ),
    "no model": (lambda: compression.factorize("mlp", rank=2), "'mlp'"),
    "subclassed": (
        lambda: compression.factorize(subclassed(), rank=2),
        "a Subclassed",
    ),
    "backbone": (
        lambda: compression.factorize(bert(), rank=2),
        "a BertBackbone",
        "bert_classifier",
    ),
    "not finite": (
        lambda: compression.factorize(not_finite(), energy=0.5),
        "hidden_0 with NaN",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    call, *fragments = MISTAKES[mistake]
    check_usage_error(call, *fragments)


def dense(**options):
    return keras.layers.Dense(20, name="x", **options)


class Doubled(keras.layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


def quantized():
    layer = dense()
    layer.build((None, 20))
    layer.quantize("int8")
    return layer


def with_lora():
    layer = dense()
    layer.build((None, 20))
    layer.enable_lora(2)
    return layer


KEPT = {
    "small": (lambda: keras.layers.Dense(1, name="x"), "x", "too small"),
    "constraint": (
        lambda: dense(kernel_constraint="non_neg"),
        "x",
        "a constraint",
    ),
    "quantized": (quantized, "x", "quantized to int8"),
    "lora": (with_lora, "x", "LoRA"),
    "derived": (lambda: Doubled(20, name="x"), "x", "a Doubled"),
}


@pytest.mark.parametrize("case", KEPT)
def test_is_kept_whole(case):
    make, name, reason = KEPT[case]
    model = keras.Sequential([keras.Input((20,)), make()])
    (row,) = compression.plan_factorization(model, rank=1).layers
    assert (row.name, row.rank, row.relative_error) == (name, None, 0.0)
    assert row.parameters_after == row.parameters_before
    assert reason in row.kept


def reasons(model):
    plan = compression.plan_factorization(model, rank=1)
    return {x.name: x.kept for x in plan.layers}


def test_layers_inside_others_are_kept():
    steps = keras.Input((6, 20))
    wrapped = keras.layers.TimeDistributed(dense(), name="wrapped")
    attention = keras.layers.MultiHeadAttention(2, 10, name="attention")
    x = wrapped(steps)
    kept = reasons(keras.Model(steps, attention(x, x)))
    assert kept["wrapped/x"].startswith("inside wrapped, a TimeDistributed")
    assert "a MultiHeadAttention" in kept["attention/query"]
    assert len(kept) == 5


def test_a_layer_in_two_models_is_kept():
    shared = dense()
    inner = keras.Sequential([keras.Input((20,)), shared], name="inner")
    inputs = keras.Input((20,))
    last = keras.layers.Dense(20, name="last")
    model = keras.Model(inputs, last(shared(inner(inputs))))
    plan = compression.plan_factorization(model, rank=1)
    assert plan.ranks == {"last": 1}
    assert "shared" in plan.layers[0].kept
    # Keras itself would save two of it.
    check_usage_error(plan.apply, "900 parameters", "480 were planned")


def test_variables_that_are_tied_by_hand_are_kept():
    first, second = dense(), keras.layers.Dense(20, name="y")
    last = keras.layers.Dense(20, name="last")
    model = keras.Sequential([keras.Input((20,)), first, second, last])
    second._untrack_variable(second._kernel)
    second._tracker.unlock()
    second._kernel = first._kernel
    kept = reasons(model)
    assert "shared" in kept["x"] and "shared" in kept["y"]
    check_usage_error(
        lambda: compression.factorize(model, rank=1), "nor save it"
    )


def test_a_backbone_inside_a_model_is_kept():
    backbone = bert()
    head = keras.layers.Dense(10, name="logits")
    outputs = head(backbone(backbone.input)["pooled_output"])
    kept = reasons(keras.Model(backbone.input, outputs))
    assert "a BertBackbone" in kept["bert_backbone/pooled_dense"]
    assert "a BertBackbone" in kept["bert_backbone/token_embedding"]
    assert kept["logits"] == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"tie_weights": False}, "second matrix"), ({"mask_zero": True}, "masks")],
)
def test_reversible_embeddings_that_are_more_than_a_matrix(options, reason):
    layer = keras.layers.ReversibleEmbedding(40, 16, name="x", **options)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), layer])
    assert reason in reasons(model)["x"]
