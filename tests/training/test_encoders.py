"""Encoders that are fused against the same as Keras computes them."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbig
from kbig.errors import UsageError
from kbig.training import Runtime
from kbig.training import dropout_at
from kbig.training import fused
from kbig.training.encoders import is_fusable
from kbig.tuning.lora import PROJECTIONS

SIZE = {"num_layers": 2, "hidden_dim": 32, "num_heads": 4}
VOCABULARY, STEPS, ROWS, CLASSES = 50, 12, 16, 3


def token_rows(seed=0, rows=ROWS):
    random = np.random.default_rng(seed)
    lengths = random.integers(3, STEPS, (rows, 1))
    return {
        "token_ids": random.integers(0, VOCABULARY, (rows, STEPS)),
        "segment_ids": random.integers(0, 2, (rows, STEPS)),
        "padding_mask": np.int32(np.arange(STEPS) < lengths),
    }


def packed_rows(seed=0):
    texts = np.sort(np.random.default_rng(seed).integers(1, 4, (ROWS, STEPS)))
    places = np.arange(STEPS)
    first = np.argmax(texts[..., None] == texts[:, None], -1)
    rows = token_rows(seed)
    return {**rows, "text_ids": texts, "position_ids": places - first}


def backbone(**options):
    return kbig.models.bert({**SIZE, **options}, VOCABULARY)


def classifier(dropout=0.1, **options):
    encoder = backbone(dropout=dropout, **options)
    return kbig.models.bert_classifier(encoder, CLASSES, dropout)


def predictions(rows):
    places = np.random.default_rng(4).integers(0, 3, (ROWS, 5))
    return {**rows, "mask_positions": places}


def masked_lm():
    return kbig.models.bert_masked_lm(backbone())


def low_rank():
    everywhere = list(PROJECTIONS)
    return kbig.tuning.prepare(
        classifier(), "lora", projections=everywhere
    ).model


def low_rank_as_keras_has_it():
    model = classifier()
    for layer in model._flatten_layers():
        if type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
            layer.enable_lora(4)
    return model


CASES = {
    "texts": (classifier, token_rows, (ROWS,)),
    "exact GELU": (lambda: classifier(activation="gelu"), token_rows, (ROWS,)),
    "LoRA": (low_rank, token_rows, (ROWS,)),
    "Keras's LoRA": (low_rank_as_keras_has_it, token_rows, (ROWS,)),
    "tokens": (
        lambda: kbig.models.bert_token_classifier(backbone(), CLASSES),
        token_rows,
        (ROWS, STEPS),
    ),
    "masked words": (
        masked_lm,
        lambda: predictions(token_rows()),
        (ROWS, 5),
    ),
    "packed": (
        lambda: kbig.models.packed(masked_lm()),
        lambda: predictions(packed_rows()),
        (ROWS, 5),
    ),
}


def roughened(model):
    """So that no weight is at the zero that it starts with."""
    random = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign_add(0.1 * random.normal(size=weight.shape))
    return model


def gradients(model, x, y):
    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    y, model(x, training=True)
                )
            )
        found = tape.gradient(
            loss, [v.value for v in model.trainable_variables]
        )
        return loss, [
            0.0 if g is None else tf.convert_to_tensor(g) for g in found
        ]

    return run()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_those_of_keras(name):
    keras.utils.set_random_seed(0)
    build, rows, shape = CASES[name]
    model, x = roughened(build()), rows()
    y = np.random.default_rng(2).integers(0, CLASSES, shape)
    with dropout_at(model, 0.0):
        loss, expected = gradients(model, x, y)
        with fused(model) as count:
            fused_loss, found = gradients(model, x, y)
    assert count == 2
    np.testing.assert_allclose(fused_loss, loss, rtol=1e-6)
    # Of the bias of keys it is zero but for rounding.
    smallest = 1e-5 * max(float(tf.norm(each)) for each in expected)
    for one, other in zip(found, expected, strict=True):
        assert tf.norm(one - other) <= 1e-5 * tf.norm(other) + smallest


def nowhere_to_look():
    rows = token_rows()
    rows["padding_mask"][3] = 0
    return rows


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_text_that_is_all_padding_is_as_in_keras(dropout):
    model, x = roughened(classifier(dropout)), nowhere_to_look()
    expected = model(x)
    with fused(model):
        np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_under_mixed_policies(policy, dtype):
    keras.utils.set_random_seed(0)
    exact = roughened(classifier(dropout=0.0))
    with Runtime(precision=policy, fused=False).scope():
        mixed = classifier(dropout=0.0)
    mixed.set_weights(exact.get_weights())
    x, y = token_rows(), np.zeros(ROWS, "int32")
    _, expected = gradients(exact, x, y)
    with fused(mixed, dtype) as count:
        _, found = gradients(mixed, x, y)
    assert count == 2
    largest = max(float(tf.norm(each)) for each in expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == tf.float32
        # bfloat16 has 8 bits, and two layers of them are behind it.
        assert tf.norm(one - other) < 0.05 * tf.norm(other) + 0.01 * largest


def test_bfloat16_sums_gradients_of_biases_in_float32():
    """Of equal rows: summed in bfloat16 they would stop growing at 256."""
    keras.utils.set_random_seed(0)
    model = roughened(classifier(dropout=0.0))
    x = {k: np.repeat(v[:1], 600, 0) for k, v in token_rows().items()}
    y = np.zeros(600, "int32")
    _, expected = gradients(model, x, y)
    with fused(model, "bfloat16"):
        _, found = gradients(model, x, y)
    for weight, one, other in zip(
        model.trainable_variables, found, expected, strict=True
    ):
        if weight.path.endswith("value/bias"):
            assert tf.norm(one - other) < 0.05 * tf.norm(other)


def test_what_was_traced_inside_is_forgotten():
    model, x = roughened(classifier()), token_rows()
    compiled(model)
    before = model.predict(x, verbose=0)
    with fused(model, "bfloat16"):
        inside = model.predict(x, verbose=0)
        with fused(model) as count:
            # What is fused already is left as it is.
            assert count == 0
    assert not np.array_equal(inside, before)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


def test_other_dtypes_are_refused():
    with pytest.raises(UsageError, match="'int8'"):
        fused(classifier(), "int8")


def compiled(model, **options):
    model.compile(
        kbig.training.adamw(1e-3, global_clipnorm=1.0, **options),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )


def losses(context, model, steps):
    """The loss of every step, on the same few batches again and again."""
    batches = [token_rows(seed) for seed in range(8)]
    found = []
    with context(model):
        compiled(model)
        for step in range(steps):
            x = batches[step % len(batches)]
            model.reset_metrics()
            found.append(
                model.train_on_batch(x, x["token_ids"][:, 0] % CLASSES)
            )
    return np.array(found)


def no_dropout(seed=3):
    keras.utils.set_random_seed(seed)
    return classifier(dropout=0.0)


@pytest.mark.ci
def test_fifty_steps_in_float32():
    stock = losses(contextlib.nullcontext, no_dropout(), 50)
    found = losses(fused, no_dropout(), 50)
    assert stock[-1] < 0.9 * stock[0]
    np.testing.assert_allclose(found, stock, rtol=1e-4)


@contextlib.contextmanager
def chosen_on_a_fast_cpu(model):
    """Both at once: oneDNN's bfloat16, and the encoders fused."""
    runtime = Runtime(precision="onednn_bfloat16", fused=True)
    with runtime.scope(), runtime.fusing(model):
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    "context", [lambda m: fused(m, "bfloat16"), chosen_on_a_fast_cpu]
)
def test_three_hundred_steps_in_bfloat16(context):
    stock = losses(contextlib.nullcontext, no_dropout(), 300)
    found = losses(context, no_dropout(), 300)
    np.testing.assert_allclose(found[:100], stock[:100], rtol=0.01)
    windows = found.reshape(-1, 50).mean(1), stock.reshape(-1, 50).mean(1)
    np.testing.assert_allclose(*windows, rtol=0.01, atol=0.01)


def dropping(seed=3):
    keras.utils.set_random_seed(seed)
    return classifier(dropout=0.3)


@pytest.mark.ci
def test_what_is_dropped_follows_from_the_seed():
    first = losses(fused, dropping(), 5)
    np.testing.assert_array_equal(losses(fused, dropping(), 5), first)
    assert (losses(fused, dropping(4), 5) != first).all()
    assert (losses(fused, no_dropout(), 5) != first).all()


def resumed(directory, seed, epochs, dtype):
    resume = kbig.training.ExactResume(directory, every_steps=1)
    model, x = dropping(seed), token_rows()
    y = x["token_ids"][:, 0] % CLASSES
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(ROWS // 2)
    with fused(model, dtype):
        compiled(model)
        model.fit(
            resume.remaining(data),
            steps_per_epoch=2,
            epochs=epochs,
            initial_epoch=resume.initial_epoch(2),
            callbacks=[resume],
            verbose=0,
        )
    return model.get_weights()


@pytest.mark.ci
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_goes_on_as_if_it_had_never_stopped(dtype, tmp_path):
    whole = resumed(tmp_path / "whole", 3, 2, dtype)
    resumed(tmp_path / "parts", 3, 1, dtype)
    # What it was built with is replaced by what was kept.
    parts = resumed(tmp_path / "parts", 9, 2, dtype)
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def trained(strategy, **options):
    # With a small one a gradient that is all rounding, as that of the keys'
    # bias, would make a step as long as any.
    options["epsilon"] = 0.1
    runtime = Runtime(strategy, precision="float32", fused=True)
    with runtime.scope():
        model = no_dropout()
    with runtime.scope(), runtime.fusing(model) as count:
        compiled(model, **options)
        x = token_rows()
        model.fit(
            x,
            x["token_ids"][:, 0] % CLASSES,
            batch_size=8,
            epochs=2,
            shuffle=False,
            verbose=0,
        )
    assert count == 2
    return model.get_weights()


@pytest.mark.ci
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}])
def test_replicas_train_what_one_device_does(options):
    for one, two in zip(
        trained("none", **options), trained("mirrored", **options), strict=True
    ):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-7)


def test_replicas_do_not_drop_the_same():
    runtime = Runtime("mirrored", precision="float32", fused=True)
    with runtime.scope():
        encoder = backbone(dropout=0.5).transformer_layers[0]
    x = np.ones((1, 5, 32), "float32")
    with fused(encoder):
        run = tf.function(lambda: encoder(x, training=True))
        one, other = runtime.strategy.run(run).values
    assert not np.array_equal(one, other)


@pytest.mark.ci
def test_pruned_weights_stay_zero():
    model = no_dropout()
    pruner = kbig.compression.Pruner(0.5)
    x = token_rows()
    with fused(model):
        compiled(model)
        model.fit(
            x,
            x["token_ids"][:, 0] % CLASSES,
            epochs=6,
            callbacks=[pruner],
            verbose=0,
        )
    kernels = [
        weight.numpy()
        for weight in model.trainable_variables
        if weight.path.endswith("intermediate_dense/kernel")
    ]
    assert len(kernels) == 2
    for kernel in kernels:
        assert (kernel == 0).mean() == 0.5


def pre_norm():
    import keras_hub

    layer = keras_hub.layers.TransformerEncoder(8, 2, normalize_first=True)
    layer.build((None, 4, 8))
    return [layer]


def of_method(name):
    tuned = kbig.tuning.prepare(classifier(), name).model
    return [
        layer
        for layer in tuned._flatten_layers()
        if hasattr(layer, "_self_attention_layer")
    ]


def quantized():
    model = kbig.compression.quantize_aware(classifier(), token_rows())
    return [*model._flatten_layers()]


def parts_of_another_kind(change):
    encoder = backbone().transformer_layers[0]
    change(encoder)
    return [encoder]


class Halves(keras.layers.Dropout):
    """Drops in its own way."""


def another_dropout(encoder):
    # Past Keras, which locks what is built.
    vars(encoder)["_feedforward_dropout"] = Halves(0.5)


def another_activation(encoder):
    def gelu(x):
        return x

    encoder._feedforward_intermediate_dense.activation = gelu


def narrow():
    shrunk = kbig.compression.shrink(classifier(), 0.5)
    return [x for x in shrunk.layers if type(x).__name__ == "NarrowEncoder"]


def test_encoders_with_fewer_heads_are_fused():
    layers = narrow()
    assert layers
    assert all(map(is_fusable, layers))


def thin():
    thinner = kbig.compression.factorize(classifier(), rank=1)
    return [
        x for x in thinner.layers if type(x).__name__ == "FactorizedEncoder"
    ]


def in_bfloat16():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        return [*backbone().transformer_layers]
    finally:
        keras.config.set_dtype_policy(previous)


OTHERS = {
    "weights in bfloat16": in_bfloat16,
    "not built": lambda: [type(backbone().transformer_layers[0])(8, 2)],
    "another dropout": lambda: parts_of_another_kind(another_dropout),
    "another activation": lambda: parts_of_another_kind(another_activation),
    "pre-norm": pre_norm,
    "low rank": thin,
    "adapters": lambda: of_method("houlsby"),
    "fake quantization": quantized,
    "other layers": lambda: [keras.layers.Dense(3)],
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_compute_as_always(name):
    layers = OTHERS[name]()
    assert layers
    assert not any(map(is_fusable, layers))


def test_a_model_is_as_before():
    model, x = classifier(), token_rows()
    before = model(x)
    with fused(model, "bfloat16"):
        assert not np.array_equal(model(x), before)
    np.testing.assert_array_equal(model(x), before)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


def test_attention_scores_are_still_there():
    encoder, x = backbone().transformer_layers[0], np.ones((2, 5, 32), "f")
    expected = encoder(x, return_attention_scores=True)
    with fused(encoder) as count:
        found = encoder(x, return_attention_scores=True)
    assert count == 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
