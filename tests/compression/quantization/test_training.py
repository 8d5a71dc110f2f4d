"""What a quantized model goes through before it is exported."""

import keras
import numpy as np
import pytest

import kbig
from kbig.compression.quantization.ranges import Range
from kbig.export.integers import operations
from kbig.models.copies import rebuilt
from tests.compression.quantization.int8 import check_equal
from tests.compression.quantization.tiny import FAMILIES

LOSS = "sparse_categorical_crossentropy"


def data(rows=64):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 8, 8, 3)).astype("float32")
    return x, generator.integers(0, 4, rows)


def small():
    return kbig.models.cnn((8, 8, 3), 4, filters=(8,), block="residual")


def quantized(model=None, **options):
    x, _ = data()
    model = model or small()
    return kbig.compression.quantize_aware(model, x, **options)


def compiled(model, optimizer=None, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"jit_compile": False, **options}
    model.compile(optimizer or keras.optimizers.Adam(1e-3), loss, **options)
    return model


def fitted(model, epochs=2):
    x, y = data()
    losses = model.fit(
        x, y, batch_size=16, epochs=epochs, verbose=0, shuffle=False
    ).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    return model


def ranges(model) -> dict:
    return {
        f"{layer.name}/{found.spec.name}": [float(b) for b in found.bounds()]
        for layer in model._flatten_layers()
        for found in getattr(layer, "quantization_ranges", [])
    }


@pytest.mark.ci
@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({"jit_compile": True}, {}),
        ({"steps_per_execution": 2}, {"gradient_accumulation_steps": 2}),
        pytest.param({}, {"use_ema": True}, marks=pytest.mark.slow),
    ],
    ids=("jit", "accumulation", "ema"),
)
def test_trains_and_exports(options, optimizer, tmp_path):
    model = quantized()
    before = ranges(model)
    adam = keras.optimizers.Adam(1e-3, **optimizer)
    fitted(compiled(model, adam, **options), epochs=4)
    assert ranges(model) != before
    check_equal(model, data()[0], tmp_path)


@pytest.mark.ci
@pytest.mark.parametrize(
    "policy",
    [
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_mixed_precision(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = fitted(compiled(quantized(small())), epochs=3)
    finally:
        keras.config.set_dtype_policy("float32")
    kinds = {layer.compute_dtype for layer in model.layers}
    assert policy.removeprefix("mixed_") in kinds
    twin = kbig.export.float32_twin(model)
    for weight, own in zip(twin.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), own.numpy())
    check_equal(twin, data()[0], tmp_path)


@pytest.mark.slow
def test_bert_in_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, x, _ = FAMILIES["bert"]()
        made = kbig.compression.quantize_aware(model, x)
    finally:
        keras.config.set_dtype_policy("float32")
    check_equal(kbig.export.float32_twin(made), x, tmp_path)


@pytest.mark.ci
def test_replicas_share_their_ranges(tmp_path):
    runtime = kbig.training.Runtime("mirrored", precision="float32")
    with runtime.scope():
        model = compiled(quantized())
    fitted(model)
    found = ranges(model)
    assert all(np.isfinite(bounds).all() for bounds in found.values())
    check_equal(rebuilt(model), data()[0], tmp_path)


@pytest.mark.ci
def test_saved_and_loaded_goes_on_alike(tmp_path):
    straight = fitted(fitted(compiled(quantized()), 2), 2)
    keras.utils.set_random_seed(0)
    model = fitted(compiled(quantized()), 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert kbig.compression.is_quantized(loaded)
    fitted(loaded, 2)
    for one, other in zip(straight.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    x, _ = data()
    np.testing.assert_array_equal(straight(x), loaded(x))


def test_lora_is_merged_into_the_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    model = kbig.models.mlp((6,), 3, (16,))
    model.layers[1].enable_lora(2)
    model.layers[1].lora_kernel_b.assign(np.full((2, 16), 0.3))
    expected = model(x)
    made = kbig.compression.quantize_aware(model, x)
    difference = np.abs(np.asarray(made(x)) - expected).max()
    assert difference < 0.03 * np.ptp(expected)
    check_equal(made, x, tmp_path)


def held_by_a_pruner(share, pattern):
    steps = kbig.compression.ConstantSparsity(share, 0, -1, 1)
    return kbig.compression.Pruner(steps, pattern=pattern)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("pattern", "hold"),
    [
        ("unstructured", lambda *asked: kbig.compression.KeepZeros()),
        pytest.param("unstructured", held_by_a_pruner, marks=pytest.mark.slow),
        pytest.param("2:4", held_by_a_pruner, marks=pytest.mark.slow),
    ],
)
def test_zeros_of_a_pruned_model_stay(pattern, hold, tmp_path):
    x, y = data()
    share = 0.5 if pattern == "2:4" else 0.7
    pruner = kbig.compression.Pruner(share, pattern=pattern)
    model = compiled(small())
    model.fit(x, y, batch_size=16, epochs=5, verbose=0, callbacks=[pruner])
    made = compiled(quantized(model))
    again = [hold(share, pattern)]
    made.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=again)
    kernels = [w for w in made.trainable_weights if w.name == "kernel"]
    for before, after in zip(
        [w for w in model.trainable_weights if w.name == "kernel"], kernels
    ):
        zeros = before.numpy() == 0
        if not zeros.any():  # Three channels are no group of four.
            continue
        assert zeros.mean() >= share - 0.05
        assert (after.numpy()[zeros] == 0).all()
    file = check_equal(made, x, tmp_path)
    assert stored_zeros(file) >= 0.8 * share


def stored_zeros(file) -> float:
    """The share of zeros among int8 weights of a file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    inputs = {
        op["inputs"][1]
        for op in interpreter._get_ops_details()
        if op["op_name"] in ("CONV_2D", "FULLY_CONNECTED")
    }
    values = [interpreter.get_tensor(i).ravel() for i in inputs]
    return float((np.concatenate(values) == 0).mean())


@pytest.mark.ci
def test_delay_and_freeze():
    x, y = data()
    model = small()
    expected = model(x)
    made = compiled(quantized(model, delay=5, freeze_after=6))
    np.testing.assert_allclose(made(x), expected, atol=1e-5)
    made.fit(x, y, batch_size=16, epochs=1, verbose=0)  # 4 steps
    early = ranges(made)
    made.fit(x, y, batch_size=16, epochs=1, verbose=0)
    frozen = ranges(made)
    made.fit(x, y, batch_size=16, epochs=1, verbose=0)
    assert early != frozen
    assert ranges(made) == frozen


@pytest.mark.ci
def test_skipped_layers_stay_in_float(tmp_path):
    model, x, _ = FAMILIES["plain"]()
    made = kbig.compression.quantize_aware(model, x, skip=["stage_1_*"])
    file = check_equal(made, x, tmp_path)
    floats = [o for o in operations(file.read_bytes()) if o.is_float]
    assert sum(o.name == "CONV_2D" for o in floats) == 2


@pytest.mark.ci
def test_one_skipped_layer_between_others_stays_in_float(tmp_path):
    """Nothing else would keep integers out of a single operation."""
    x = np.random.default_rng(0).normal(size=(64, 40)).astype("float32")
    model = kbig.models.mlp((40,), 3, (40, 40))
    made = kbig.compression.quantize_aware(model, x, skip=["hidden_1"])
    file = check_equal(made, x, tmp_path)
    (product,) = (
        o
        for o in operations(file.read_bytes())
        if o.is_float and o.name == "FULLY_CONNECTED"
    )
    # Weights and all: dynamic int8 is no float.
    assert set(product.inputs) == {"float32"}


@pytest.mark.ci
def test_four_bits():
    model, x, _ = FAMILIES["mlp"]()
    made = kbig.compression.quantize_aware(model, x, bits=4)
    with made.as_integers():
        kernel = made.layers[1].kernel
    assert kernel.shape == (6, 16)
    errors = {
        bits: np.abs(
            np.asarray(kbig.compression.quantize_aware(model, x, bits=bits)(x))
            - np.asarray(model(x))
        ).mean()
        for bits in (4, 8)
    }
    # A grid of 15 instead of 255 values.
    assert 4 < errors[4] / errors[8] < 60


def test_ranges_are_weights_that_are_not_trained():
    model = quantized()
    held = [x for x in model._flatten_layers() if isinstance(x, Range)]
    ids = {id(w) for x in held for w in x.weights}
    assert ids
    assert not ids & {id(w) for w in model.trainable_weights}
    assert ids <= {id(w) for w in model.non_trainable_weights}


def test_shared_layers_have_a_range_a_call(tmp_path):
    x = keras.Input((6,), name="x")
    layer = keras.layers.Dense(6, "relu", name="twice")
    model = keras.Model(x, keras.layers.Dense(3)(layer(3 * layer(x))))
    rows = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    made = kbig.compression.quantize_aware(model, rows)
    names = {k for k in ranges(made) if k.startswith(layer.name)}
    assert names == {
        f"{layer.name}/{name}" for name in ("input_0", "output", "1/output")
    }
    check_equal(made, rows, tmp_path)


def test_nested_and_sequential_models(tmp_path):
    inner = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    )
    model = keras.Sequential(
        [keras.Input((6,), name="x"), inner, keras.layers.Dense(3)]
    )
    rows = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    made = kbig.compression.quantize_aware(model, rows)
    assert isinstance(made, keras.Sequential)
    assert len(made.layers) == 2
    assert len(made.quantization.plan.folded) == 2
    check_equal(made, rows, tmp_path)


@keras.saving.register_keras_serializable("tests")
class Twice(keras.Model):
    """A class of the user's own, which holds layers that are known."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.first = keras.layers.Dense(units, "relu")
        self.second = keras.layers.Dense(3)

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, self.units))
        self.built = True

    def call(self, x, training=False):
        return self.second(self.first(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_subclassed_models():
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    model = Twice(8)
    model.build((None, 6))
    made = kbig.compression.quantize_aware(model, x)
    assert isinstance(made, Twice)
    difference = np.abs(np.asarray(made(x)) - np.asarray(model(x)))
    assert 0 < difference.max() < 0.05 * np.ptp(np.asarray(model(x)))


@pytest.mark.ci
def test_masks_of_embeddings_reach_the_file(tmp_path):
    """KerasHub's set the mask themselves, and not Keras for them."""
    import keras_hub

    ids = keras.Input((6,), dtype="int32", name="ids")
    x = keras_hub.layers.TokenAndPositionEmbedding(
        20, 6, 8, mask_zero=True, name="embedding"
    )(ids)
    x = keras.layers.LSTM(8, name="lstm")(x)
    model = keras.Model(ids, keras.layers.Dense(3)(x))
    rows = np.random.default_rng(0).integers(1, 20, (64, 6)).astype("int32")
    rows[:32, 3:] = 0
    made = kbig.compression.quantize_aware(model, rows)
    check_equal(made, rows, tmp_path, outliers=0.01)
    file = tmp_path / "model.tflite"
    names = {o.name for o in operations(file.read_bytes())}
    assert "SELECT_V2" in names
