import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import models
from kbig.training import Runtime
from kbig.training import WarmupLinear
from kbig.training import adam
from kbig.training import adamw
from kbig.training.optimizers import SelectiveAdamW
from kbig.training.optimizers import rate_factor
from tests.contracts import check_usage_error


def tiny_bert():
    size = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2}
    return models.bert(size, vocabulary_size=11)


def decay_only(model, optimizer):
    """Takes one step without gradients; each weight's factor."""
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    return {v.path: float(np.max(v.numpy())) for v in variables}


def test_decays_kernels_and_embeddings_of_bert_only():
    factors = decay_only(tiny_bert(), adamw(0.5, weight_decay=0.1))
    kept = {path for path, factor in factors.items() if factor == 1.0}
    decayed = factors.keys() - kept
    # 2 norms of a layer and 1 of the embeddings; 6 dense layers a layer and
    # the pooler, each with a kernel and a bias; 3 embeddings.
    assert len(kept) == 2 * 3 + 7
    assert len(decayed) == 7 + 3
    assert {path.split("/")[-1] for path in kept} == {"gamma", "beta", "bias"}
    assert {path.split("/")[-1] for path in decayed} == {"kernel", "embeddings"}
    for path in decayed:
        assert factors[path] == pytest.approx(1 - 0.5 * 0.1)


def test_a_loaded_optimizer_still_spares_norms(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(adamw(0.5, weight_decay=0.1, global_clipnorm=1.0), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.global_clipnorm == 1.0
    kernel, bias = decay_only(loaded, loaded.optimizer).values()
    assert kernel == pytest.approx(0.95)
    assert bias == 1.0


STEPS = 20
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 5, 3)) ** 3
START = np.random.default_rng(1).normal(size=(5, 3))


def adamw_in_float64(rates, weight_decay, epsilon, factor=1.0, clip=np.inf):
    """Loshchilov and Hutter's algorithm 2; epsilon where Keras has it."""
    weight, first, second = START.copy(), 0.0, 0.0
    for step, (gradient, rate) in enumerate(zip(GRADIENTS, rates), start=1):
        gradient = gradient * min(1.0, clip / np.linalg.norm(gradient))
        rate = rate * factor
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weight = weight - rate * weight_decay * weight
        correction = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weight -= rate * correction * first / (np.sqrt(second) + epsilon)
    return weight


def stepped(optimizer, jit_compile=False):
    variable = keras.Variable(START.astype("float32"), name="kernel")
    optimizer.build([variable])

    @tf.function(jit_compile=jit_compile)
    def step(gradient):
        optimizer.apply([gradient])

    for gradient in GRADIENTS.astype("float32"):
        step(gradient)
    return variable.numpy()


@pytest.fixture(params=["by kernels", "by a loop"])
def update(request, monkeypatch):
    """Has every variable updated the one way or the other."""
    if request.param == "by a loop":
        monkeypatch.setattr(adam, "LARGE", 1)


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.usefixtures("update")
def test_equals_the_formula_and_keras(epsilon, jit_compile):
    rate = WarmupLinear(0.1, warmup_steps=4, total_steps=30)
    rates = [0.1 * min(s / 4, (30 - s) / 26) for s in range(STEPS)]
    options = {"weight_decay": 0.1, "epsilon": epsilon, "global_clipnorm": 2.0}
    weight = stepped(adamw(rate, **options), jit_compile)
    oracle = adamw_in_float64(rates, 0.1, epsilon, clip=2.0)
    np.testing.assert_allclose(weight, oracle, atol=2e-6)
    # Keras is further from the oracle: it mixes 1 - 0.999 in float64 with
    # powers of 0.999 in float32.
    theirs = stepped(keras.optimizers.AdamW(rate, **options))
    np.testing.assert_allclose(weight, theirs, atol=1e-5)


@pytest.mark.parametrize("options", [{"amsgrad": True}, {"use_ema": True}])
def test_options_that_are_left_to_keras(options):
    weight = stepped(adamw(0.05, weight_decay=0.1, **options))
    theirs = stepped(keras.optimizers.AdamW(0.05, 0.1, epsilon=1e-6, **options))
    np.testing.assert_allclose(weight, theirs, atol=1e-5)


@pytest.mark.usefixtures("update")
def test_multipliers_scale_rate_and_decay():
    optimizer = adamw(0.1, 0.1, multipliers={"^no": 0.0, "kern": 0.25})
    oracle = adamw_in_float64([0.1] * STEPS, 0.1, 1e-6, factor=0.25)
    np.testing.assert_allclose(stepped(optimizer), oracle, atol=2e-6)


def test_the_first_multiplier_wins():
    multipliers = {"layer_1/": 0.5, r"layer_\d": 0.25}
    assert rate_factor("bert/layer_1/kernel", multipliers) == 0.5
    assert rate_factor("bert/layer_2/kernel", multipliers) == 0.25
    assert rate_factor("logits/kernel", multipliers) == 1.0


@pytest.mark.usefixtures("update")
def test_slices_of_one_row_are_summed():
    """Keras sums the squares of slices: its second moment is another."""
    slices = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, -4.0]]), tf.constant([1, 1]), (2, 2)
    )
    results = []
    for gradient in (slices, tf.constant([[0.0, 0.0], [4.0, -2.0]])):
        variable = keras.Variable(np.ones((2, 2), "float32"), name="embeddings")
        optimizer = adamw(0.1, 0.0, epsilon=1.0, global_clipnorm=1.0)
        optimizer.build([variable])
        optimizer.apply([gradient])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)


def regression(optimizer, strategy="none", jit_compile=False):
    with Runtime(strategy).scope():
        model = keras.Sequential(
            [
                keras.Input((), dtype="int32"),
                keras.layers.Embedding(4, 3),
                keras.layers.Dense(2),
            ]
        )
        model.compile(optimizer(), "mse", jit_compile=jit_compile)
    return model


TOKENS = np.arange(48) * 7 % 4
TARGETS = np.random.default_rng(2).normal(size=(48, 2))


def fitted(model, batch_size, epochs=2):
    model.fit(
        TOKENS,
        TARGETS,
        batch_size=batch_size,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return model.get_weights()


def check_equal(weights, others, atol=1e-6):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(weight, other, atol=atol)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("accumulated", [None, 2])
@pytest.mark.usefixtures("update")
def test_variables_of_another_dtype(dtype, accumulated):
    optimizer = adamw(
        0.1,
        0.0,
        epsilon=1e-3,
        global_clipnorm=1.0,
        gradient_accumulation_steps=accumulated,
    )
    variable = keras.Variable(np.ones(4), dtype=dtype, name="kernel")
    optimizer.build([variable])
    for _ in range(accumulated or 1):
        # Whose squares add up to more than float16 holds.
        optimizer.apply([tf.fill((4,), tf.cast(1000.0, dtype))])
    # A first step is one of the rate but for epsilon: 0.1 * 0.5 / 0.5.
    assert variable.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(variable.value, "float64"), 1 - 0.1, rtol=0.01
    )


@pytest.mark.parametrize("options", [{"global_clipnorm": -1.0}, {}])
def test_a_norm_that_is_not_positive_clips_nothing(options):
    found = stepped(adamw(0.05, weight_decay=0.1, **options))
    theirs = keras.optimizers.AdamW(0.05, 0.1, epsilon=1e-6, **options)
    np.testing.assert_allclose(found, stepped(theirs), atol=1e-5)


@pytest.mark.parametrize(
    "strategy, jit_compile",
    [("none", False), ("none", True), ("mirrored", False)],
)
@pytest.mark.usefixtures("update")
def test_accumulation_equals_a_large_batch(strategy, jit_compile):
    def accumulating():
        return adamw(
            0.05,
            weight_decay=0.1,
            # A smaller one makes float32's rounding of a gradient of zero
            # a step of the full rate.
            epsilon=1e-3,
            global_clipnorm=0.1,
            gradient_accumulation_steps=3,
        )

    def plain():
        return adamw(0.05, weight_decay=0.1, epsilon=1e-3, global_clipnorm=0.1)

    small = regression(accumulating, strategy, jit_compile)
    weights = fitted(small, batch_size=8)
    assert int(small.optimizer.iterations) == 2 * 48 // 24
    check_equal(weights, fitted(regression(plain), batch_size=24))


def test_accumulation_follows_keras():
    rate = WarmupLinear(0.1, warmup_steps=4, total_steps=20)
    options = {"weight_decay": 0.1, "epsilon": 1e-3}
    ours = regression(
        lambda: adamw(rate, gradient_accumulation_steps=2, **options)
    )
    optimizer = keras.optimizers.AdamW(
        rate, gradient_accumulation_steps=2, **options
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    theirs = keras.models.clone_model(ours)
    theirs.set_weights(ours.get_weights())
    theirs.compile(optimizer, "mse")
    for model in (ours, theirs):
        # Of slices Keras makes another second moment.
        model.layers[0].trainable = False
    check_equal(fitted(ours, 8), fitted(theirs, 8), atol=1e-5)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("strategy", ["none", "mirrored"])
@pytest.mark.usefixtures("update")
def test_a_model_saved_between_two_steps_goes_on(strategy, tmp_path):
    def make():
        return adamw(
            0.05, multipliers={"dense": 0.5}, gradient_accumulation_steps=4
        )

    model = regression(make, strategy)
    fitted(model, 8, epochs=1)  # 6 batches: 2 of them wait.
    model.save(tmp_path / "model.keras")
    with Runtime(strategy).scope():
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, SelectiveAdamW)
    assert loaded.optimizer.multipliers == (("dense", 0.5),)
    waiting = loaded.optimizer.variables[2:4]
    assert max(np.abs(v.numpy()).max() for v in waiting) > 0
    before, after = fitted(model, 8), fitted(loaded, 8)
    for weight, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_state_is_laid_out_as_keras_does():
    mine, theirs = adamw(0.1), keras.optimizers.AdamW(0.1)
    model = tiny_bert()
    for optimizer in (mine, theirs):
        optimizer.build(model.trainable_variables)
    assert [(v.name, v.shape) for v in mine.variables] == [
        (v.name, v.shape) for v in theirs.variables
    ]


@pytest.mark.parametrize(
    "call, fragments",
    [
        (lambda: adamw(0.1, -0.1), ("weight_decay=-0.1",)),
        (lambda: adamw(0.1, multipliers={"(": 1.0}), ("'('", "re.escape")),
        (lambda: adamw(0.1, multipliers={"a": -1.0}), ("'a': -1.0",)),
        (
            lambda: adamw(0.1, use_ema=True, gradient_accumulation_steps=2),
            ("gradient_accumulation_steps=2",),
        ),
    ],
)
def test_mistakes(call, fragments):
    check_usage_error(call, *fragments)
