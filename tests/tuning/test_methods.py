import keras
import numpy as np
import pytest

from kbig import models
from kbig import tuning
from kbig.training import Runtime
from kbig.tuning.structure import trainable_names
from tests.contracts import check_usage_error
from tests.tuning.tiny import CLASSES
from tests.tuning.tiny import SIZE
from tests.tuning.tiny import VOCABULARY
from tests.tuning.tiny import WIDTH
from tests.tuning.tiny import classifier
from tests.tuning.tiny import compiled
from tests.tuning.tiny import rows
from tests.tuning.tiny import trained
from tests.tuning.tiny import values

LAYERS, RANK, ADAPTER = 2, 2, 4
OPTIONS = {"rank": RANK, "adapter_dim": ADAPTER}
HEAD = (WIDTH + 1) * CLASSES
DENSE = (WIDTH + 1) * WIDTH
NORM = 2 * WIDTH
EMBEDDINGS = (VOCABULARY + 512 + 2) * WIDTH + NORM
LAYER = 4 * DENSE + 8 * WIDTH**2 + 5 * WIDTH + 2 * NORM
TOTAL = EMBEDDINGS + LAYERS * LAYER + DENSE + HEAD
BOTTLENECK = (WIDTH + 1) * ADAPTER + (ADAPTER + 1) * WIDTH
# Query and value of each layer; A is (16, 2), B (2, 4, 4).
LORA = LAYERS * 2 * (WIDTH * RANK + RANK * WIDTH)
# Query, key, value, output and the feed-forward's two (64 and 16), with the
# shift of each norm; and the embeddings' norm and the pooler.
BIASES = LAYERS * (4 * WIDTH + 64 + WIDTH + 2 * WIDTH) + 2 * WIDTH
COUNTS = {
    "full": (TOTAL, 0),
    "frozen": (HEAD, 0),
    "gradual": (HEAD, 0),
    "layerwise": (TOTAL, 0),
    "lora": (LORA + HEAD, LORA),
    "houlsby": (
        LAYERS * 2 * BOTTLENECK + (2 * LAYERS + 1) * NORM + HEAD,
        LAYERS * 2 * BOTTLENECK,
    ),
    "pfeiffer": (LAYERS * BOTTLENECK + HEAD, LAYERS * BOTTLENECK),
    "bitfit": (BIASES + HEAD, 0),
}


@pytest.mark.parametrize("method", tuning.METHODS)
def test_what_is_trained_is_what_the_method_says(method, tmp_path):
    model = classifier()
    inputs, _ = rows()
    start = model(inputs)
    tuned = tuning.prepare(model, method, **OPTIONS)
    trainable, added = COUNTS[method]
    assert (tuned.trainable, tuned.total) == (trainable, TOTAL + added)
    assert f"{trainable:,}" in str(tuned)
    np.testing.assert_allclose(tuned.model(inputs), start, rtol=1e-5, atol=1e-6)
    names, before = set(trainable_names(tuned.model)), values(tuned.model)
    after = values(trained(tuned.model))
    assert set(trainable_names(tuned.model)) == names
    changed = {n for n in after if not np.array_equal(after[n], before[n])}
    # Keys have no bias in effect: softmax takes out what all have in common.
    idle = {name for name in names if name.endswith("key/bias")}
    assert changed - idle == names - idle
    tuned.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(inputs), tuned.model(inputs))
    if added:
        found = [
            name for name in trainable_names(loaded) if "transformer" in name
        ]
        assert set(found) == {name for name in names if "transformer" in name}


def test_report_is_saved_without_the_model(tmp_path):
    tuned = tuning.prepare(classifier(), "lora", rank=4, alpha=8.0)
    assert tuned.to_dict()["options"] == {
        "rank": 4,
        "alpha": 8.0,
        "projections": ("query", "value"),
    }
    tuned.save(tmp_path / "tuning.json")
    assert "model" not in tuned.to_dict()


def test_layerwise_rates_fall_from_the_head_to_the_embeddings():
    tuned = tuning.prepare(classifier(), "layerwise", decay=0.5)
    factors = tuned.learning_rate_multipliers
    assert factors == {
        "(^|/)pooled_dense/": 0.5,
        "(^|/)transformer_layer_1/": 0.5,
        "(^|/)transformer_layer_0/": 0.25,
        "(^|/)token_embedding/": 0.125,
        "(^|/)position_embedding/": 0.125,
        "(^|/)segment_embedding/": 0.125,
        "(^|/)embeddings_layer_norm/": 0.125,
    }


def test_the_head_of_a_masked_lm_shares_its_embedding():
    model = models.bert_masked_lm(models.bert(SIZE, VOCABULARY))
    tuned = tuning.prepare(model, "frozen")
    # A Dense layer, a norm and the output bias; not the embedding.
    assert tuned.trainable == DENSE + NORM + VOCABULARY


def test_methods_that_add_nothing_may_follow_each_other():
    model = classifier()
    tuning.prepare(model, "frozen")
    tuning.prepare(model, "bitfit")
    assert tuning.prepare(model, "full").trainable == TOTAL


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"method": "lorra"}, ("'lorra'", "'lora'")),
        ({"method": "lora", "rank": 0}, ("rank=0",)),
        ({"method": "lora", "rank": 17}, ("rank=17", "16")),
        ({"method": "lora", "alpha": 0}, ("alpha=0",)),
        ({"method": "lora", "projections": ("q",)}, ("'q'", "'query'")),
        ({"method": "lora", "projections": "query"}, ("projections='query'",)),
        ({"method": "lora", "projections": ()}, ("projections=()",)),
        ({"method": "houlsby", "adapter_dim": 0}, ("adapter_dim=0",)),
        ({"method": "layerwise", "decay": 0}, ("decay=0",)),
        ({"method": "layerwise", "decay": 1.5}, ("decay=1.5",)),
    ],
)
def test_bad_options_change_nothing(options, fragments):
    model = classifier()
    tuning.prepare(model, "bitfit")
    before = trainable_names(model)
    check_usage_error(lambda: tuning.prepare(model, **options), *fragments)
    assert trainable_names(model) == before


def test_models_that_cannot_be_prepared():
    plain = models.mlp((4,), 2)
    check_usage_error(lambda: tuning.prepare(plain), "TransformerEncoder")
    backbone = models.bert(SIZE, VOCABULARY)
    check_usage_error(lambda: tuning.prepare(backbone), "no head")
    adapted = tuning.prepare(classifier(), "pfeiffer").model
    before = trainable_names(adapted)
    check_usage_error(lambda: tuning.prepare(adapted, "full"), "already")
    assert trainable_names(adapted) == before


def test_names_do_not_count_what_else_was_built():
    def build():
        layers = [keras.layers.Dense(2), keras.layers.Dense(2)]
        return keras.Sequential([keras.Input((3,)), *layers])

    first, second = values(build()), values(build())
    assert list(first) == list(second)
    assert list(first)[0] == "dense/kernel"
    assert list(first)[2] == "dense_1/kernel"


BFLOAT16 = {"precision": "mixed_bfloat16", "xla": True}
MIRRORED = {"strategy": "mirrored", "precision": "float32"}


@pytest.mark.ci
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lora", MIRRORED),
        pytest.param("lora", BFLOAT16, marks=pytest.mark.slow),
        pytest.param("houlsby", MIRRORED, marks=pytest.mark.slow),
        pytest.param("houlsby", BFLOAT16, marks=pytest.mark.slow),
        pytest.param("pfeiffer", MIRRORED, marks=pytest.mark.slow),
        pytest.param("pfeiffer", BFLOAT16, marks=pytest.mark.slow),
        pytest.param("bitfit", MIRRORED, marks=pytest.mark.slow),
    ],
)
def test_added_layers_train_anywhere(method, options):
    runtime = Runtime(**options)
    with runtime.scope():
        tuned = tuning.prepare(classifier(), method, **OPTIONS)
        compiled(tuned.model, jit_compile=runtime.jit_compile)
    inputs, labels = rows()
    before = values(tuned.model)
    names = set(trainable_names(tuned.model))
    history = tuned.model.fit(inputs, labels, batch_size=8, epochs=2, verbose=0)
    after = values(tuned.model)
    assert np.isfinite(history.history["loss"]).all()
    frozen = set(before) - names
    assert all(np.array_equal(before[n], after[n]) for n in frozen)
    names = {name for name in names if not name.endswith("key/bias")}
    assert all(not np.array_equal(before[n], after[n]) for n in names)
