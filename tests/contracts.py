"""What every model of kbig owes its user, checked in one place."""

import unicodedata

import keras
import numpy as np
import pytest


def as_trained(model):
    """As after training: no bias is zero, no scale is one."""
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        noise = 0.1 * generator.normal(size=weight.shape)
        weight.assign(weight + noise)
    return model


def check_learns(build, inputs, targets, loss):
    model = build()
    model.compile(keras.optimizers.Adam(1e-2), loss)
    batch_size = len(keras.tree.flatten(targets)[0])
    losses = model.fit(
        inputs, targets, epochs=20, batch_size=batch_size, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


def check_saving(model, inputs, path):
    model.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    keras.tree.map_structure(
        np.testing.assert_array_equal, model(inputs), loaded(inputs)
    )


def check_precision(build, inputs, policy):
    """Logits stay float32 and finite under a mixed precision policy."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
        compute_dtypes = {layer.compute_dtype for layer in model.layers}
        outputs = model(inputs, training=True)
    finally:
        keras.config.set_dtype_policy(previous)
    assert policy.removeprefix("mixed_") in compute_dtypes
    for output in keras.tree.flatten(outputs):
        assert keras.backend.standardize_dtype(output.dtype) == "float32"
        assert np.isfinite(output).all()


def check_printed(text):
    """Nothing in it but what is seen, and line breaks."""
    unseen = [x for x in text if unicodedata.category(x) in ("Cc", "Cs")]
    assert {*unseen} <= {"\n"}, repr(text)


def check_usage_error(call, *fragments):
    """The error names the argument, what came, and what helps."""
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value).__name__ == "UsageError", message
    for fragment in ("Received: ", *fragments):
        assert fragment in message
