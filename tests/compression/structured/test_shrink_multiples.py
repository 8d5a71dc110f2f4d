"""Numbers of units that are multiples, as kernels like them."""

import numpy as np
import pytest

from kbig import compression
from kbig import models
from tests.contracts import check_usage_error


def widths(plan):
    return {x.layers[0]: x.units_after for x in plan.groups}


def cnn():
    return models.cnn((8, 8, 1), 2, filters=(16, 32), block="residual")


@pytest.mark.parametrize(
    ("keep", "expected"), [(0.5, 8), (0.3, 8), (0.7, 8), (0.8, 16), (0.01, 8)]
)
def test_a_share_is_rounded_to_the_nearest(keep, expected):
    model = models.mlp((4,), 2, (16,))
    plan = compression.plan_shrink(model, keep, multiple=8)
    assert widths(plan) == {"hidden_0": expected}
    assert plan.apply().get_layer("hidden_0").units == expected


def test_what_is_too_small_is_not_rounded():
    model = models.mlp((4,), 2, (15, 16))
    plan = compression.plan_shrink(model, 0.4, multiple=8)
    assert widths(plan) == {"hidden_0": 6, "hidden_1": 8}


@pytest.mark.parametrize("kind", ["flops", "parameters"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_budget_is_met_by_multiples_and_nearly_used_up(kind, share):
    plan = compression.plan_shrink(cnn(), **{kind: share}, multiple=4)
    assert all(units % 4 == 0 for units in widths(plan).values())
    limit = share * getattr(plan, kind)
    after = getattr(plan, f"{kind}_after")
    assert after <= limit
    # No group could have a multiple more.
    whole = {x.layers[0]: x.units for x in plan.groups}
    for name, units in widths(plan).items():
        if units == whole[name]:
            continue
        keep = {n: int(u) for n, u in widths(plan).items()}
        keep[name] = min(units + 4, whole[name])
        more = compression.plan_shrink(cnn(), _of_all(plan, keep))
        assert getattr(more, f"{kind}_after") > limit


def _of_all(plan, keep):
    """For every layer of a group what is said of its first."""
    return {
        layer: keep[group.layers[0]]
        for group in plan.groups
        for layer in group.layers
    }


def test_the_most_important_units_stay():
    model = models.mlp((4,), 2, (16,))
    kernel = np.zeros((4, 16))
    kernel[0] = np.arange(16)[::-1]
    model.get_layer("hidden_0").set_weights([kernel, np.zeros(16)])
    plan = compression.plan_shrink(model, parameters=0.7, multiple=4)
    assert plan.groups[0].kept == ((0, 1, 2, 3, 4, 5, 6, 7),)


def test_heads_are_not_rounded():
    size = {"num_layers": 1, "hidden_dim": 32, "num_heads": 16}
    model = models.bert_classifier(models.bert(size, 20), 2)
    plan = compression.plan_shrink(model, 0.7, multiple=8)
    heads = next(x for x in plan.groups if x.units == 16)
    assert heads.units_after == 11


def test_a_budget_that_multiples_cannot_meet():
    check_usage_error(
        lambda: compression.plan_shrink(cnn(), flops=0.01, multiple=8),
        "the least multiple",
        "flops=0.01",
    )
    check_usage_error(
        lambda: compression.plan_shrink(cnn(), 0.5, multiple=0), "multiple=0"
    )
