"""What cannot be quantized is told before anything is changed."""

import keras
import numpy as np
import pytest

import kbig
from tests.contracts import check_usage_error

X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")


def model():
    return kbig.models.mlp((6,), 3, (8,))


def quantized(made=None, sample=X, **options):
    return kbig.compression.quantize_aware(made or model(), sample, **options)


class Unknown(keras.layers.Layer):
    def call(self, x):
        return keras.ops.sin(x)


def with_unknown():
    x = keras.Input((6,))
    y = Unknown(name="mine")(x)
    y = keras.layers.Dense(3, activation="mish", name="odd")(y)
    return keras.Model(x, keras.layers.Dense(2, name="fine")(y))


def nan():
    x = X.copy()
    x[3, 2] = np.nan
    return x


CASES = {
    "unbuilt": (
        lambda: quantized(keras.Sequential([keras.layers.Dense(2)])),
        ("must be built", "Give it an Input"),
    ),
    "no model": (lambda: quantized("model"), ("must be built",)),
    "twice": (lambda: quantized(quantized()), ("quantized already",)),
    "unknown layers, all at once": (
        lambda: quantized(with_unknown()),
        ("mine (a Unknown)", "odd (a Dense", "'mish'", "skip=[...]"),
    ),
    "empty": (lambda: quantized(sample=X[:0]), ("must have rows", "0 rows")),
    "constant": (lambda: quantized(sample=X * 0 + 3), ("constant", "3.0")),
    "nan": (lambda: quantized(sample=nan()), ("finite",)),
    "shape": (lambda: quantized(sample=X[:, :4]), ("(None, 6)", "(16, 4)")),
    "rows": (
        lambda: quantized(sample=[X, X[:4]]),
        ("(16, 6), (4, 6)",),
    ),
    "bits": (lambda: quantized(bits=3), ("bits=3", "4, 8")),
    "observer": (lambda: quantized(observer="mean"), ("'mean'", "ema")),
    "momentum": (lambda: quantized(momentum=1.5), ("momentum=1.5",)),
    "delay": (lambda: quantized(delay=-1), ("delay=-1",)),
    "freeze": (lambda: quantized(freeze_after=0.5), ("freeze_after=0.5",)),
    "skip": (lambda: quantized(skip=["nothing_*"]), ("'nothing_*'",)),
    "report": (
        lambda: kbig.compression.quantization_report(model()),
        ("not quantized",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    call, fragments = CASES[case]
    check_usage_error(call, *fragments)


def test_the_model_is_as_it_was():
    made = with_unknown()
    classes = [type(x) for x in made.layers]
    with pytest.raises(ValueError):
        quantized(made)
    assert classes == [type(x) for x in made.layers]


def test_skipped_unknown_layers_do():
    made = quantized(with_unknown(), skip=["mine", "odd"])
    assert np.isfinite(made(X)).all()


class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2


@pytest.mark.ci
def test_registered_layers_do(tmp_path):
    from kbig.compression.quantization import table
    from tests.compression.quantization.int8 import check_equal

    kbig.compression.register_layer(Halved, kbig.compression.LayerSpec())
    try:
        x = keras.Input((6,), name="x")
        made = quantized(keras.Model(x, keras.layers.Dense(3)(Halved()(x))))
        check_equal(made, X, tmp_path)
    finally:
        del table._TABLE[Halved]


def test_only_classes_of_layers_are_registered():
    check_usage_error(
        lambda: kbig.compression.register_layer(
            keras.layers.Dense(2), kbig.compression.LayerSpec()
        ),
        "layer_class",
        "Pass the class",
    )


EXPORTS = {
    "float without rows": (
        model,
        {"mode": "int8"},
        ("a float model without", "representative=rows"),
    ),
    "quantized with rows": (
        lambda: quantized(),
        {"mode": "int8", "representative": X},
        ("a quantized model and",),
    ),
    "quantized as float": (
        lambda: quantized(),
        {"mode": "float32"},
        ("mode int8", "float32"),
    ),
    "integers of floats": (
        model,
        {"mode": "dynamic", "integer_io": True},
        ("integer_io=True",),
    ),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_refused_by_the_export(case, tmp_path):
    build, options, fragments = EXPORTS[case]
    path = tmp_path / "model.tflite"
    made = build()
    check_usage_error(
        lambda: kbig.export.litert(made, path, samples=X, **options),
        *fragments,
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.ci
def test_integers_in_and_out(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    path = tmp_path / "model.tflite"
    report = kbig.export.litert(
        quantized(), path, mode="int8", samples=X, integer_io=True
    )
    assert report.passed
    assert report.weights == "integers"
    interpreter = Interpreter(str(path))
    for details in (
        *interpreter.get_input_details(),
        *interpreter.get_output_details(),
    ):
        assert details["dtype"] == np.int8


@pytest.mark.ci
def test_post_training_int8(tmp_path):
    path = tmp_path / "model.tflite"
    report = kbig.export.litert(
        model(), path, mode="int8", samples=X, representative=X
    )
    assert report.passed
    assert report.weights == "integers"
    assert path.is_file()
