import pytest

from kbig import tuning
from kbig.tuning.structure import trainable_names
from tests.contracts import check_usage_error
from tests.tuning.tiny import classifier
from tests.tuning.tiny import compiled
from tests.tuning.tiny import rows

GROUPS = (
    ("logits",),
    ("pooled_dense", "transformer_layer_1"),
    ("transformer_layer_0",),
    (
        "token_embedding",
        "position_embedding",
        "segment_embedding",
        "embeddings_layer_norm",
    ),
)


def test_stages_go_from_the_head_to_the_embeddings():
    assert tuning.prepare(classifier(), "gradual").stages == GROUPS
    mean = classifier(pooling="mean")
    assert tuning.prepare(mean, "gradual").stages[1] == ("transformer_layer_1",)


@pytest.mark.parametrize(
    ("epochs", "opened"),
    [
        (2, [1, 4]),
        (3, [1, 3, 4]),
        (4, [1, 2, 3, 4]),
        (7, [1, 2, 3, 4]),
    ],
)
def test_epochs_are_shared_among_stages(epochs, opened):
    plan = tuning.plan_stages(GROUPS, epochs)
    layers = [tuple(x for g in GROUPS[:n] for x in g) for n in opened]
    assert [stage.layers for stage in plan] == layers
    starts = list(range(len(opened)))
    assert [stage.initial_epoch for stage in plan] == starts
    assert [stage.epochs for stage in plan] == [*starts[1:], epochs]


def test_one_epoch_is_too_few_for_stages_only():
    check_usage_error(lambda: tuning.plan_stages(GROUPS, 1), "epochs=1")
    (only,) = tuning.plan_stages(GROUPS[:1], 1)
    assert only == tuning.Stage(("logits",), 0, 1)


def test_each_stage_trains_its_layers():
    tuned = tuning.prepare(classifier(), "gradual")
    inputs, labels = rows()
    seen = []

    def compile(model, stage):
        compiled(model, run_eagerly=True)
        seen.append({name.split("/")[0] for name in trainable_names(model)})

    def fit(**epochs):
        return tuned.model.fit(
            inputs, labels, batch_size=8, verbose=0, **epochs
        )

    history = tuning.fit_in_stages(tuned, 3, compile, fit)
    assert len(history["loss"]) == 3
    assert seen[0] == set(GROUPS[0])
    assert seen[1] == {name for group in GROUPS[:3] for name in group}
    assert seen[2] == {name for group in GROUPS for name in group}
    assert len(tuned.model.optimizer.variables) > 2 * len(tuned.model.weights)


def test_unfreezing_a_layer_that_is_not_there():
    model = classifier()
    check_usage_error(lambda: tuning.unfreeze(model, ["logitz"]), "'logitz'")
    assert len(model.trainable_variables) == len(model.weights)


def test_unfreezing_counts_parameters():
    model = classifier()
    assert tuning.unfreeze(model, ["logits"]) == 16 * 3 + 3
