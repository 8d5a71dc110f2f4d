"""What was trained under mixed precision is exported as any other model."""

import keras
import numpy as np
import pytest

from kbig import export
from kbig import models
from kbig.export.litert_file import foreign_ops
from kbig.export.litert_file import weights_dtype
from kbig.models.copies import rebuilt

SMALL = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
BUILDERS = {
    "mlp": lambda: models.mlp((4,), 3, (8,)),
    "cnn": lambda: models.cnn((8, 8, 1), 3, filters=(4,)),
    "lstm": lambda: models.rnn((5, 2), 3, "lstm", (4,)),
    "bert": lambda: models.bert_classifier(models.bert(SMALL, 20), 3),
}


def built(name: str, policy: str) -> keras.Model:
    """Its layers have the same names each time."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(policy)
    try:
        return BUILDERS[name]()
    finally:
        keras.config.set_dtype_policy("float32")


def rows_of(model) -> dict:
    generator = np.random.default_rng(0)
    return {
        x.name: (
            1 + generator.random((8, *(side or 6 for side in x.shape[1:])))
        ).astype(x.dtype)
        for x in model.inputs
    }


def written(model, path) -> bytes:
    export.litert(model, path, samples=rows_of(model))
    return path.read_bytes()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "name, policy",
    [
        pytest.param(name, policy, marks=slow)
        for policy, slow in (
            ("mixed_float16", ()),
            ("mixed_bfloat16", pytest.mark.slow),
        )
        for name in BUILDERS
    ],
)
def test_the_file_is_that_of_the_float32_twin(name, policy, tmp_path):
    mixed = built(name, policy)
    assert policy in {x.dtype_policy.name for x in mixed.layers}
    before = mixed.get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mixed.compile(keras.optimizers.Adam(0.1), loss, run_eagerly=True)
    mixed.fit(rows_of(mixed), np.arange(8) % 3, epochs=2, verbose=0)
    learned = mixed.get_weights()
    changed = [not np.array_equal(*pair) for pair in zip(before, learned)]
    assert np.mean(changed) > 0.5
    file = written(mixed, tmp_path / "m.tflite")
    assert foreign_ops(file) == []
    assert weights_dtype(file) == "float32"
    twin = built(name, "float32")
    twin.set_weights(learned)
    # Keras numbers the layers within layers, and names are in the file.
    twin = rebuilt(twin)
    assert file == written(twin, tmp_path / "m.tflite")
