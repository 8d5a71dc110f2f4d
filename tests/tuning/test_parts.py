import json

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save_file

from kbig import tuning
from tests.contracts import check_usage_error
from tests.tuning.tiny import WIDTH
from tests.tuning.tiny import classifier
from tests.tuning.tiny import randomize
from tests.tuning.tiny import rows
from tests.tuning.tiny import values

INPUTS, _ = rows()


def tuned(method, **options):
    """Prepared, and trained weights other than at the start."""
    prepared = tuning.prepare(classifier(), method, **options)
    for pattern in ("logits", "lora_b", "adapter_"):
        randomize(prepared.model, pattern)
    return prepared


def freshly_built():
    """The same backbone but for its pooler, which was random; another head."""
    model = classifier()
    randomize(model, "logits/kernel")
    randomize(model, "pooled_dense")
    return model


@pytest.mark.parametrize("method", tuning.METHODS)
def test_a_part_brings_back_what_was_trained(method, tmp_path):
    path = tmp_path / "deep" / "part.safetensors"
    before = tuned(method, rank=3, adapter_dim=5)
    # The others are found out by what is trainable.
    told = method if method in ("gradual", "layerwise") else ""
    report = tuning.save_part(before.model, path, told)
    assert report.method == method
    pooler = before.model.get_layer("pooled_dense")
    extra = 0 if pooler.kernel.trainable else pooler.kernel.shape.num_elements()
    extra += 0 if pooler.bias.trainable else WIDTH
    assert report.parameters == before.trainable + extra
    assert report.size == path.stat().st_size
    assert list(path.parent.iterdir()) == [path]
    after = tuning.load_part(freshly_built(), path)
    assert (after.method, after.options) == (method, before.options)
    np.testing.assert_array_equal(after.model(INPUTS), before.model(INPUTS))


def test_what_is_in_the_file(tmp_path):
    path = tmp_path / "part"
    tuning.save_part(tuned("lora", rank=3, projections=["key"]).model, path)
    layers = [f"transformer_layer_{i}/self_attention_layer/key" for i in (0, 1)]
    expected = {f"{layer}/lora_{x}" for layer in layers for x in "ab"}
    for layer in ("logits", "pooled_dense"):
        expected |= {f"{layer}/kernel", f"{layer}/bias"}
    assert set(load_file(path)) == expected
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    assert metadata["method"] == "lora"
    assert json.loads(metadata["options"]) == {
        "rank": 3,
        "alpha": 3,
        "projections": ["key"],
    }


def check_refused(model, path, *fragments):
    before = values(model)
    trainable = [variable.trainable for variable in model.weights]
    check_usage_error(lambda: tuning.load_part(model, path), *fragments)
    after = values(model)
    assert all(np.array_equal(before[n], after[n]) for n in before)
    assert [variable.trainable for variable in model.weights] == trainable


@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_what_does_not_fit_is_refused_by_name(method, tmp_path):
    path = tmp_path / "part"
    tuning.save_part(tuned(method).model, path)
    check_refused(classifier(seed=1), path, "frozen weights", "fingerprint")
    check_refused(classifier(num_classes=4), path, "logits/bias", "(3,)")
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    bias = tensors.pop("logits/bias")
    save_file(tensors, path, metadata)
    check_refused(classifier(), path, "lacks", "logits/bias")
    save_file(tensors | {"logits/bias": bias, "more": bias}, path, metadata)
    check_refused(classifier(), path, "does not", "more")


def regression(scale):
    values = keras.layers.Rescaling(scale, offset=1.0)
    head = classifier()
    return keras.Model(head.input, values(head.output))


def test_what_computes_otherwise_is_refused(tmp_path):
    path = tmp_path / "part"
    before = tuning.prepare(regression(2.5), "frozen").model
    tuning.save_part(before, path)
    check_refused(
        regression(1.5), path, "Rescaling.scale=2.5", "Rescaling.scale=1.5"
    )
    after = tuning.load_part(regression(2.5), path).model
    np.testing.assert_array_equal(after(INPUTS), before(INPUTS))


@pytest.mark.parametrize("method", ["frozen", "lora", "houlsby"])
@pytest.mark.parametrize(
    "options", [{"activation": "gelu"}, {"layer_norm_epsilon": 1e-5}]
)
def test_another_kind_of_backbone_is_refused(method, options, tmp_path):
    path = tmp_path / "part"
    tuning.save_part(tuned(method).model, path)
    ((key, _),) = options.items()
    check_refused(classifier(**options), path, key, "computes otherwise")


def test_dropout_and_saved_files_make_no_difference(tmp_path):
    before = tuned("houlsby").model
    tuning.save_part(before, tmp_path / "part")
    classifier(dropout=0.3).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    after = tuning.load_part(loaded, tmp_path / "part").model
    np.testing.assert_array_equal(after(INPUTS), before(INPUTS))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "part"
    check_refused(classifier(), path, "part")
    path.write_bytes(b"something")
    check_refused(classifier(), path, "safetensors")
    save_file({"a": np.zeros(2, "float32")}, path)
    check_refused(classifier(), path, "not a part")


def test_parts_that_cannot_be_saved(tmp_path):
    model = tuned("frozen").model
    check_usage_error(
        lambda: tuning.save_part(model, tmp_path / "x", "bitfit"), "bias"
    )
    check_usage_error(
        lambda: tuning.save_part(model, tmp_path / "x", "some"), "'some'"
    )
    full = tuned("full").model
    check_usage_error(
        lambda: tuning.save_part(full, tmp_path / "x", "frozen"),
        "embeddings_layer_norm/beta",
        "trainable",
    )
    check_usage_error(lambda: tuning.save_part(model, tmp_path), "directory")
    tuning.unfreeze(model, ["logits", "transformer_layer_0"])
    check_usage_error(lambda: tuning.save_part(model, tmp_path / "x"), "method")
    assert not list(tmp_path.iterdir())
