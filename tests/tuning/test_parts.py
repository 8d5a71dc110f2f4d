import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save_file

from kbig import tuning
from tests.contracts import check_usage_error
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
    """The same backbone, another head."""
    model = classifier()
    randomize(model, "logits/kernel")
    return model


@pytest.mark.parametrize("method", tuning.METHODS)
def test_a_part_brings_back_what_was_trained(method, tmp_path):
    path = tmp_path / "deep" / "part.safetensors"
    before = tuned(method, rank=3, adapter_dim=5)
    # The others are found out by what is trainable.
    told = method if method in ("gradual", "layerwise") else ""
    report = tuning.save_part(before.model, path, told)
    assert report.method == method
    assert report.parameters == before.trainable
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
    assert set(load_file(path)) == expected | {"logits/kernel", "logits/bias"}
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
    check_usage_error(lambda: tuning.save_part(model, tmp_path), "directory")
    tuning.unfreeze(model, ["logits", "transformer_layer_0"])
    check_usage_error(lambda: tuning.save_part(model, tmp_path / "x"), "method")
    assert not list(tmp_path.iterdir())
