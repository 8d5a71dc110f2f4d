import dataclasses
import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import data
from kbig import models
from kbig.training import Runtime
from kbig.training import adamw
from kbig.training.devices import present_devices
from tests.contracts import check_usage_error


@pytest.mark.parametrize(
    "call, fragments",
    [
        (lambda: Runtime("tpu"), ("'tpu'", "'mirrored'")),
        (lambda: Runtime(precision="int8"), ("'int8'", "'float32'")),
        (lambda: Runtime(xla="yes"), ("'yes'", "'auto', True, False")),
        (lambda: Runtime(seed=-1), ("seed=-1",)),
        (lambda: Runtime("multiworker"), ("num_workers=1", "TF_CONFIG")),
        (lambda: Runtime("mirrored", xla=True), ("num_replicas=2",)),
        (
            lambda: Runtime(precision="onednn_bfloat16", xla=True),
            ("onednn_bfloat16", "xla=True"),
        ),
    ],
)
def test_mistakes(call, fragments):
    check_usage_error(call, *fragments)


def test_fusing_on_request_needs_an_encoder():
    runtime = Runtime(fused=True)
    check_usage_error(
        lambda: runtime.fusing(models.mlp((4,), 3)), "none", 'fused="auto"'
    )
    # Nobody has asked for it.
    with Runtime().fusing(models.mlp((4,), 3)) as count:
        assert count == 0


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Runtime().precision = "mixed_float16"


def test_report_is_json_and_text_has_the_reasons():
    runtime = Runtime("mirrored", precision="mixed_float16", seed=7)
    report = json.loads(json.dumps(runtime.report()))
    assert report["strategy"] == "mirrored"
    assert report["replicas"] == 2
    assert report["seed"] == 7
    for reason in ("as requested; slow", "fails with 2 replicas"):
        assert reason in str(runtime)
        assert any(reason in text for text in report["reasons"].values())


def test_policy_is_restored_even_after_an_error():
    before = keras.config.dtype_policy().name
    scope = Runtime(precision="mixed_bfloat16").scope()
    with pytest.raises(ZeroDivisionError), scope:
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        _ = 1 / 0
    assert keras.config.dtype_policy().name == before
    assert not tf.distribute.has_strategy()


def losses(runtime):
    with runtime.scope():
        model = models.mlp((4,), 3, dropout=0.2)
        model.compile(
            keras.optimizers.Adam(0.02),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=runtime.jit_compile,
        )
        inputs = np.random.default_rng(0).normal(size=(32, 4))
        labels = np.argmax(inputs[:, :3], axis=-1)
        history = model.fit(inputs, labels, batch_size=16, epochs=6, verbose=0)
    return history.history["loss"]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "precision",
    ["float32", "mixed_bfloat16", "mixed_float16", "onednn_bfloat16"],
)
def test_two_replicas_train(precision):
    runtime = Runtime("mirrored", precision)
    assert runtime.num_replicas == 2
    sequence = losses(runtime)
    assert sequence[-1] < 0.7 * sequence[0]


@pytest.mark.parametrize("overflows", [0, 1])
def test_keras_still_misses_the_overflow_of_a_second_replica(overflows):
    """Once this fails, `choose_precision` can choose float16 on two GPUs."""
    with Runtime("mirrored", "mixed_float16").scope():
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, "linear", False)]
        )
        model.layers[0].kernel.assign([[0.0]])
        model.compile(adamw(0.1), "mse")
    targets = np.zeros((2, 1))
    # The loss is scaled by 2**15, and the largest float16 is 65504.
    targets[overflows] = 1000.0
    model.fit(np.ones((2, 1)), targets, batch_size=2, verbose=0)
    assert np.isfinite(model.get_weights()[0]).all() == (overflows == 0)


@pytest.mark.ci
def test_a_seed_repeats_the_losses():
    first = losses(Runtime(seed=3))
    assert losses(Runtime(seed=3)) == first
    assert losses(Runtime(seed=4)) != first


REWRITE = "auto_mixed_precision_onednn_bfloat16"


def test_the_rewrite_holds_within_the_scope_only():
    options = tf.config.optimizer.get_experimental_options
    product = tf.function(lambda a, b: tf.matmul(a, b))
    # bfloat16 has 8 bits: 1 + 1/256 becomes 1.
    factor = tf.fill((32, 32), 1.0 + 1.0 / 256)
    exact = 32 * (1 + 1 / 256) ** 2
    runtime = Runtime(precision="onednn_bfloat16")
    assert not runtime.jit_compile
    with pytest.raises(ZeroDivisionError), runtime.scope():
        assert options()[REWRITE]
        assert keras.config.dtype_policy().name == "float32"
        if present_devices().cpu_features:
            assert float(product(factor, factor)[0, 0]) == 32.0
        with Runtime(precision="float32").scope():
            assert not options()[REWRITE]
        assert options()[REWRITE]
        _ = 1 / 0
    assert not options().get(REWRITE, False)
    # The same function, called outside, is compiled anew.
    assert float(product(factor, factor)[0, 0]) == pytest.approx(exact, 1e-6)


def bert_losses(precision, steps):
    rows = np.random.default_rng(0).integers(5, 40, (64, 32))
    rows[:, 1::2] = rows[:, ::2]  # Something to learn.
    stream = data.masked_batches(
        rows,
        16,
        vocabulary_size=40,
        mask_id=4,
        special_ids=range(5),
        max_predictions=5,
        training=True,
    )
    runtime = Runtime(precision=precision)
    with runtime.scope():
        size = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2}
        model = models.bert_masked_lm(models.bert(size, 40))
        model.compile(
            adamw(2e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        history = model.fit(
            stream, steps_per_epoch=steps // 4, epochs=4, verbose=0
        ).history
    assert {v.dtype for v in model.weights} == {"float32"}
    return np.array(history["loss"])


@pytest.mark.ci
@pytest.mark.parametrize(
    "steps", [40, pytest.param(300, marks=pytest.mark.slow)]
)
def test_losses_in_bfloat16_follow_those_in_float32(steps):
    exact = bert_losses("float32", steps)
    rewritten = bert_losses("onednn_bfloat16", steps)
    assert exact[-1] < 0.99 * exact[0]
    np.testing.assert_allclose(rewritten, exact, rtol=0.01)
    if present_devices().cpu_features:
        assert (rewritten != exact).any()


TRAIN_SCRIPT = """
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras, numpy as np
with strategy.scope():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", jit_compile=False)
model.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=8, verbose=0)
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_worker(workers, index):
    task = {"type": "worker", "index": index}
    tf_config = json.dumps({"cluster": {"worker": workers}, "task": task})
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN_SCRIPT],
        env={**os.environ, "TF_CONFIG": tf_config},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_keras_still_cannot_train_on_several_workers():
    """Once this fails, `choose_strategy` can let "multiworker" through."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [start_worker(workers, index) for index in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 1
            assert "Attempt to convert a value (PerReplica" in errors
    finally:
        for process in processes:
            process.kill()
