"""How much is removed, and which units: shares, numbers and budgets."""

import json

import keras
import numpy as np
import pytest

from kbig import compression
from kbig import models
from tests.contracts import check_usage_error


def mlp():
    return models.mlp((20,), 3, (16, 8))


def parameters(first, second):
    return 20 * first + first + first * second + second + second * 3 + 3


def rising(layer):
    """The later a unit, the more it matters."""
    return np.arange(1.0, 1 + layer.kernel.shape[-1])


def widths(plan):
    return {x.layers[0]: x.units_after for x in plan.groups}


def test_a_share_of_each_group_rounds_to_the_nearest_unit():
    plan = compression.plan_shrink(mlp(), 0.3, importance=rising)
    assert widths(plan) == {"hidden_0": 5, "hidden_1": 2}
    kept = {x.layers[0]: x.kept[0] for x in plan.groups}
    assert kept == {"hidden_0": (11, 12, 13, 14, 15), "hidden_1": (6, 7)}


def test_one_unit_stays():
    assert widths(compression.plan_shrink(mlp(), 0.01)) == {
        "hidden_0": 1,
        "hidden_1": 1,
    }


def test_shares_and_numbers_by_pattern():
    plan = compression.plan_shrink(mlp(), {"hidden_1": 3, "hidden_*": 0.5})
    assert widths(plan) == {"hidden_0": 8, "hidden_1": 3}
    plan = compression.plan_shrink(mlp(), {"*_0": 0.25})
    assert widths(plan) == {"hidden_0": 4, "hidden_1": 8}


def test_layers_restrict_what_is_shrunk():
    plan = compression.plan_shrink(mlp(), 0.5, layers="hidden_0")
    assert widths(plan) == {"hidden_0": 8}
    reasons = {x.layer: x.reason for x in plan.kept_whole}
    assert "`layers` leaves out hidden_1" in reasons["hidden_1"]


def test_what_goes_together_must_all_be_among_the_layers():
    model = models.cnn((8, 8, 1), 2, filters=(4,), block="residual")
    plan = compression.plan_shrink(model, 0.5, layers=["stem", "*_second"])
    assert widths(plan) == {"stem": 2}
    reasons = {x.layer: x.reason for x in plan.kept_whole}
    assert "stage_0_shortcut" in reasons["stage_0_second"]


def oracle(model, budget):
    """Removes one unit at a time, with every price computed anew."""
    scores = {}
    for name in ("hidden_0", "hidden_1"):
        kernel, bias = model.get_layer(name).get_weights()
        norms = np.sqrt((kernel.astype("float64") ** 2).sum(0) + bias**2)
        scores[name] = sorted(norms)
    while True:
        first, second = map(len, scores.values())
        cost = parameters(first, second)
        if cost <= budget:
            return {"hidden_0": first, "hidden_1": second}
        saved = {
            "hidden_0": cost - parameters(first - 1, second),
            "hidden_1": cost - parameters(first, second - 1),
        }
        prices = {
            name: values[0] / sum(values) / saved[name]
            for name, values in scores.items()
            if len(values) > 1
        }
        scores[min(prices, key=prices.get)].pop(0)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.25, 0.12])
def test_a_budget_of_parameters_goes_to_the_least_important_for_their_cost(
    share,
):
    model = mlp()
    budget = share * parameters(16, 8)
    plan = compression.plan_shrink(model, parameters=share)
    assert widths(plan) == oracle(model, budget)
    assert budget - 29 < plan.parameters_after <= budget
    absolute = compression.plan_shrink(model, parameters=int(budget))
    assert absolute.groups == plan.groups


@pytest.mark.parametrize("block", ["plain", "residual", "depthwise"])
def test_a_budget_of_flops_is_met_within_a_unit(block):
    model = models.cnn((8, 8, 1), 2, filters=(8, 16), block=block)
    plan = compression.plan_shrink(model, flops=0.5)
    assert plan.flops_after <= plan.flops // 2
    # The smallest budget that asks for less leaves one more unit.
    low, high = plan.flops // 2, plan.flops
    while high - low > 1:
        middle = (low + high) // 2
        same = compression.plan_shrink(model, flops=middle)
        low, high = (
            (middle, high) if same.groups == plan.groups else (low, middle)
        )
    looser = compression.plan_shrink(model, flops=high)
    assert looser.flops_after == high
    assert sum(widths(looser).values()) == sum(widths(plan).values()) + 1
    assert plan.apply().count_params() == plan.parameters_after


def test_no_layer_is_used_up_while_others_have_units_to_spare():
    model = models.mlp((784,), 10, (128, 64))
    plan = compression.plan_shrink(model, parameters=0.5)
    assert min(widths(plan).values()) > 40


def test_a_budget_counts_the_encoder_layers_that_go():
    size = {"num_layers": 4, "hidden_dim": 16, "num_heads": 2}
    model = models.bert_classifier(models.bert(size, 20), 2)
    plan = compression.plan_shrink(model, flops=0.25, encoder_layers=2)
    assert 0.2 * plan.flops < plan.flops_after <= 0.25 * plan.flops
    assert min(x.units_after for x in plan.groups if x.units > 2) > 1


def test_the_plan_prints_and_is_json():
    plan = compression.plan_shrink(mlp(), 0.5)
    text = str(plan)
    for fragment in ("hidden_0", "16", "8", "Kept whole", "logits"):
        assert fragment in text
    content = json.loads(json.dumps(plan.to_dict()))
    assert content["parameters_after"] == parameters(8, 4)
    assert content["groups"][0]["layers"] == ["hidden_0"]
    assert content["kept_whole"][0]["reason"] == "an output of the model"
    assert set(content) & {"_surgery", "surgery"} == set()


def unbuilt():
    return keras.Sequential([keras.layers.Dense(3)])


def subclassed():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model(np.zeros((1, 3)))
    return model


def own_call():
    class Own(keras.Model):
        def call(self, x):
            return super().call(x) * 2

    x = keras.Input((3,))
    return Own(x, keras.layers.Dense(2)(x))


def plan(model=None, *args, **options):
    return compression.plan_shrink(model or mlp(), *args, **options)


RESIDUAL = {"stage_0_second": 0.5, "stage_0_shortcut": 0.75}
MISTAKES = {
    "nothing": (lambda: plan(), "none of them", "`flops`"),
    "two": (lambda: plan(None, 0.5, flops=0.5), "'keep': 0.5", "'flops': 0.5"),
    "keep-zero": (lambda: plan(None, 0.0), "keep=0.0", "(0, 1]"),
    "keep-above": (lambda: plan(None, 1.5), "keep=1.5"),
    "keep-text": (lambda: plan(None, "half"), "keep='half'"),
    "keep-empty": (lambda: plan(None, {}), "keep={}"),
    "keep-pattern": (
        lambda: plan(None, {"hiden_0": 0.5}),
        "'hiden_0'",
        "hidden_0, hidden_1, logits",
    ),
    "keep-value": (lambda: plan(None, {"hidden_0": 0}), "keep['hidden_0']=0"),
    "keep-many": (lambda: plan(None, {"hidden_0": 17}), "keep=17 of 16"),
    "keep-conflict": (
        lambda: plan(
            models.cnn((8, 8, 1), 2, filters=(4,), block="residual"), RESIDUAL
        ),
        "stage_0_second",
        "one value",
    ),
    "layers": (lambda: plan(None, 0.5, layers="conv*"), "`layers`", "'conv*'"),
    "parameters-zero": (lambda: plan(None, parameters=0), "parameters=0"),
    "parameters-above": (lambda: plan(None, parameters=1.1), "parameters=1.1"),
    "parameters-many": (
        lambda: plan(None, parameters=500),
        "what the model has, 499",
        "parameters=500",
    ),
    "parameters-few": (
        lambda: plan(None, parameters=20),
        f"the model has {parameters(1, 1)}",
        "parameters=20",
    ),
    "flops-few": (lambda: plan(None, flops=0.01), "flops=0.01"),
    "unbuilt": (lambda: plan(unbuilt(), 0.5), "Call it on data first"),
    "layers-number": (lambda: plan(None, 0.5, layers=5), "layers=5"),
    "subclassed": (
        lambda: plan(subclassed(), 0.5),
        "Functional",
        "(Own)",
        "as `keras.Model(inputs, outputs)`",
    ),
    "own-call": (lambda: plan(own_call(), 0.5), "Functional"),
    "no-model": (lambda: plan("mlp", 0.5), "'mlp'"),
    "encoder_layers-none": (lambda: plan(encoder_layers=1), "no encoder"),
    "free_dimension": (
        lambda: plan(None, 0.5, free_dimension=0),
        "free_dimension=0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    call, *fragments = MISTAKES[mistake]
    check_usage_error(call, *fragments)


@pytest.mark.parametrize("layers", [0, 5, [], [4], [-1], 1.5, True])
def test_encoder_layers_that_are_not_there(layers):
    size = {"num_layers": 4, "hidden_dim": 4, "num_heads": 2}
    model = models.bert_classifier(models.bert(size, 20), 2)
    check_usage_error(
        lambda: plan(model, encoder_layers=layers), "encoder_layers="
    )


def test_a_layer_that_keras_cannot_build_again_is_named():
    x = keras.Input((3,))
    y = keras.layers.Dense(4, activation=lambda z: z * 2, name="odd")(x)
    model = keras.Model(x, keras.layers.Dense(2)(y))
    check_usage_error(lambda: plan(model, 0.5).apply(), "layer odd")
