"""Where the obvious rewrite of a layer would compute something else."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import kbig
from kbig.compression.quantization import modes
from kbig.compression.quantization.ranges import Observation
from kbig.compression.quantization.ranges import Progress
from kbig.compression.quantization.ranges import Range
from kbig.compression.quantization.ranges import RangeSpec
from tests.compression.quantization.int8 import check_equal

L = keras.layers
GENERATOR = np.random.default_rng(0)


def close_to_float(model, x, share=0.05):
    """Quantized, and not trained, it gives what the float model gives."""
    made = kbig.compression.quantize_aware(model, x)
    expected, got = np.asarray(model(x)), np.asarray(made(x))
    assert np.abs(got - expected).max() < share * np.ptp(expected)
    return made


def test_a_tensor_below_zero_keeps_its_range():
    found = Range(RangeSpec("x"), Observation("ema", 0.5))
    for _ in range(40):
        found.apply(np.float32([-2.0, -1.5]), Progress(training=True))
    low, high = (float(bound) for bound in found.bounds())
    assert low == pytest.approx(-2.0, abs=1e-3)
    assert 0 <= high < 1e-3


def test_a_batch_that_diverged_moves_no_range():
    found = Range(RangeSpec("x"), Observation("ema", 0.5))
    training = Progress(training=True)
    found.apply(np.float32([-1.0, 1.0]), training)
    before = [float(bound) for bound in found.bounds()]
    found.apply(np.float32([-np.inf, np.inf]), training)
    assert [float(bound) for bound in found.bounds()] == before


def test_a_model_that_has_diverged_is_refused():
    model = kbig.models.mlp((4,), 2, (3,))
    model.layers[1].kernel.assign(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        kbig.compression.quantize_aware(model, GENERATOR.normal(size=(8, 4)))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_samples_that_are_far_off_have_a_gradient(activation):
    """A probability of 0 would have none."""
    x = keras.Input((3,))
    dense = L.Dense(3, activation=activation, kernel_initializer="identity")
    model = keras.Model(x, dense(x))
    rows = np.float32([[8.0, 0.0, -8.0], [-9.0, 1.0, 9.0]])
    made = kbig.compression.quantize_aware(model, rows)
    made.compile(
        keras.optimizers.SGD(1.0),
        "categorical_crossentropy"
        if activation == "softmax"
        else "binary_crossentropy",
        jit_compile=False,
    )
    before = made.layers[1].kernel.numpy()
    labels = np.float32([[0, 0, 1], [1, 0, 0]])
    made.fit(rows, labels, epochs=1, verbose=0)
    assert np.abs(made.layers[1].kernel.numpy() - before).max() > 0.1


def test_the_mask_of_a_softmax(tmp_path):
    x, mask = keras.Input((4,), name="x"), keras.Input((4,), name="mask")
    model = keras.Model([x, mask], L.Softmax()(x, mask=mask > 0))
    rows = GENERATOR.normal(size=(32, 4)).astype("float32")
    kept = np.tile(np.float32([1, 1, 0, 0]), (32, 1))
    # Comparing is no layer that is known.
    made = kbig.compression.quantize_aware(
        model, [rows, kept], skip=["greater*"]
    )
    got = np.asarray(made([rows, kept]))
    np.testing.assert_allclose(got, model([rows, kept]), atol=0.03)
    assert (got[:, 2:] == 0).all()


def padded(after):
    ids = keras.Input((6,), dtype="int32", name="ids")
    x = L.Embedding(20, 8, mask_zero=True, name="embedding")(ids)
    model = keras.Model(ids, after(x))
    rows = GENERATOR.integers(1, 20, (32, 6)).astype("int32")
    rows[:, 4:] = 0
    return model, rows


@pytest.mark.ci
def test_padding_is_not_attended(tmp_path):
    encoder = keras_hub.layers.TransformerEncoder(16, 2, name="encoder")
    model, rows = padded(lambda x: encoder(x)[:, :4])
    made = close_to_float(model, rows, share=0.1)
    check_equal(made, rows, tmp_path)
    skipped = kbig.compression.quantize_aware(model, rows, skip=["embedding"])
    expected = np.asarray(model(rows))
    difference = np.abs(np.asarray(skipped(rows)) - expected).max()
    assert difference < 0.1 * np.ptp(expected)


def test_padding_is_not_averaged(tmp_path):
    model, rows = padded(lambda x: L.Dense(3)(L.GlobalAveragePooling1D()(x)))
    made = close_to_float(model, rows)
    check_equal(made, rows, tmp_path)


@pytest.mark.parametrize("merge", [L.Add, L.Multiply, L.Subtract])
def test_operands_of_different_ranks(merge, tmp_path):
    x, y = keras.Input((8, 4), name="x"), keras.Input((4,), name="y")
    model = keras.Model([x, y], merge()([x, y]))
    # As many rows as steps: a wrong broadcast would not show as an error.
    rows = [
        GENERATOR.normal(size=shape).astype("float32")
        for shape in ((8, 8, 4), (8, 4))
    ]
    made = close_to_float(model, rows)
    check_equal(made, dict(zip("xy", rows)), tmp_path)


def trained_statistics(model):
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.moving_mean.assign(layer.moving_mean + 0.5)
            layer.moving_variance.assign(layer.moving_variance * 4)
            layer.gamma.assign(layer.gamma * -1.5)


def test_a_shared_layer_takes_in_no_normalization(tmp_path):
    x = keras.Input((5,), name="x")
    dense = L.Dense(5, use_bias=False)
    first = L.BatchNormalization()(dense(x))
    model = keras.Model(x, L.BatchNormalization()(dense(first)))
    trained_statistics(model)
    rows = GENERATOR.normal(size=(64, 5)).astype("float32")
    made = close_to_float(model, rows)
    assert not made.quantization.plan.folded
    check_equal(made, rows, tmp_path)


def test_a_shared_normalization_is_not_folded(tmp_path):
    x = keras.Input((5,), name="x")
    norm = L.BatchNormalization()
    model = keras.Model(x, L.Add()([norm(L.Dense(5)(x)), norm(x)]))
    trained_statistics(model)
    rows = GENERATOR.normal(size=(64, 5)).astype("float32")
    made = close_to_float(model, rows)
    check_equal(made, rows, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"equation": "abc,cde->abde", "activation": "softmax"},
        {"equation": "abc,cd->abd", "bias_axes": "bd"},
    ],
    ids=("softmax", "bias of a row"),
)
def test_einsums_that_are_no_product_of_matrices(options, tmp_path):
    x = keras.Input((4, 5), name="x")
    shape = (4, 6) if "bias_axes" in options else (4, 2, 3)
    layer = L.EinsumDense(output_shape=shape, **options)
    model = keras.Model(x, layer(x))
    if layer.bias is not None:
        layer.bias.assign(GENERATOR.normal(size=layer.bias.shape))
    rows = GENERATOR.normal(size=(64, 4, 5)).astype("float32")
    made = close_to_float(model, rows)
    check_equal(made, rows, tmp_path)


def test_what_is_frozen_is_frozen_when_it_is_loaded(tmp_path):
    model = kbig.models.mlp((4,), 2, (3,))
    rows = GENERATOR.normal(size=(16, 4)).astype("float32")
    made = kbig.compression.quantize_aware(model, rows)
    made.get_layer("hidden_0").trainable = False
    made.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(made.trainable_weights) == len(loaded.trainable_weights) == 2


def test_attention_scores_are_given_when_asked_for():
    x = keras.Input((5, 8), name="x")
    encoder = keras_hub.layers.TransformerEncoder(16, 2, name="encoder")
    model = keras.Model(x, encoder(x))
    rows = GENERATOR.normal(size=(32, 5, 8)).astype("float32")
    made = kbig.compression.quantize_aware(model, rows)
    y, scores = made.get_layer("encoder")(rows, return_attention_scores=True)
    assert y.shape == (32, 5, 8)
    assert scores.shape == (32, 2, 5, 5)
    with modes.entered(modes.Training(Progress(training=False))):
        encoder = made.get_layer("encoder")
        rounded, shares = encoder(rows, return_attention_scores=True)
    np.testing.assert_allclose(shares, scores, atol=0.03)
    np.testing.assert_allclose(rounded, y, atol=0.3)


def test_bytes_are_rescaled(tmp_path):
    x = keras.Input((6, 6, 1), dtype="uint8", name="x")
    y = L.Rescaling(1 / 255)(x)
    model = keras.Model(x, L.Dense(3)(L.Flatten()(y)))
    rows = GENERATOR.integers(0, 256, (32, 6, 6, 1)).astype("uint8")
    made = close_to_float(model, rows)
    check_equal(made, rows, tmp_path)


@pytest.mark.parametrize("islands", [True, False])
def test_a_normalization_that_was_not_trained_converts(islands, tmp_path):
    """Its ones and zeros leave two ranges with nothing between them."""
    x = keras.Input((5, 8), name="x")
    y = L.LayerNormalization(name="layer_normalization")(x)[:, 0]
    model = keras.Model(x, L.Dense(3)(y))
    rows = GENERATOR.normal(size=(64, 5, 8)).astype("float32")
    made = kbig.compression.quantize_aware(model, rows, islands=islands)
    check_equal(made, rows, tmp_path, steps=6)
    gamma = made.get_layer("layer_normalization").gamma
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(made(rows, training=True) ** 2)
    assert np.abs(tape.gradient(loss, gamma.value)).max() > 0
