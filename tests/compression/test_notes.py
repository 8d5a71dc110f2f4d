"""What plans say of the models that they make, beside numbers."""

import keras_hub
import numpy as np
import pytest

from kbig import compression
from kbig import models
from tests.compression.low_rank.models import bert

LOADS = "loads after `import kbig.compression`, as it holds "


def classifier():
    return models.bert_classifier(bert(), 3)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("*query", "FactorizedEncoder."),
        ("token_embedding", "FactorizedEmbedding."),
        (None, "FactorizedEmbedding, FactorizedEncoder."),
    ],
)
def test_factorized_layers_of_kbigs_own(layers, expected):
    plan = compression.plan_factorization(classifier(), rank=2, layers=layers)
    assert LOADS + expected in str(plan)
    again = compression.plan_factorization(
        plan.apply(), rank=1, layers="logits"
    )
    assert LOADS + expected in str(again)


def test_plain_layers_need_nothing():
    model = models.mlp((8,), 2, hidden_dims=(16,))
    for plan in (
        compression.plan_factorization(model, rank=1),
        compression.plan_shrink(model, 0.5),
    ):
        assert plan.notes == ()
    thin = compression.plan_factorization(
        classifier(), rank=2, layers="pooled_dense"
    )
    assert thin.notes == ()


def test_zeros_that_a_product_cannot_keep():
    model = models.mlp((8,), 2, hidden_dims=(16,))
    kernel = model.get_layer("hidden_0").kernel
    value = kernel.numpy()
    value[np.random.default_rng(0).random(value.shape) < 0.5] = 0
    kernel.assign(value)
    plan = compression.plan_factorization(model, rank=1)
    assert "those of hidden_0 are lost" in str(plan)
    assert plan.to_dict()["notes"] == list(plan.notes)


def test_a_block_that_has_lost_heads():
    plan = compression.plan_shrink(classifier(), {"*self_attention*": 1})
    assert LOADS + "NarrowEncoder." in str(plan)
    plan = compression.plan_shrink(classifier(), {"*feedforward*": 0.5})
    assert plan.notes == ()


def test_a_task_of_keras_hub_is_one_no_more():
    task = keras_hub.models.BertTextClassifier(bert(), 3)
    plan = compression.plan_shrink(task, {"*feedforward*": 0.5})
    assert "a plain Functional model, no BertTextClassifier" in str(plan)
    assert not hasattr(plan.apply(), "preprocessor")


@pytest.mark.parametrize("is_one", [True, False])
def test_a_backbone_stays_one_as_long_as_it_can(is_one):
    pattern = "*feedforward*" if is_one else "*self_attention*"
    plan = compression.plan_shrink(bert(), {pattern: 0.5})
    is_told = "no BertBackbone" in str(plan)
    assert is_told is not is_one
    kind = keras_hub.models.BertBackbone
    assert isinstance(plan.apply(), kind) is is_one
