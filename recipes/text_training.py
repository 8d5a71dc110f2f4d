"""One training of a text model: by some method, from some start, one seed."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes import text_batches
from recipes import text_tasks

# Peak learning rates for a model 128 wide, and by what power of the width wider
# ones take less: what changes the whole model is the more careful.
_RATES = {
    "full": (1e-3, 2),
    "frozen": (5e-3, 1),
    "gradual": (1e-3, 2),
    "layerwise": (1.5e-3, 2),
    "lora": (3e-3, 1),
    "houlsby": (3e-3, 1),
    "pfeiffer": (3e-3, 1),
    "bitfit": (3e-3, 1),
}
_WIDTH = 128


@dataclasses.dataclass(frozen=True)
class Material:
    """What every training of one command shares.

    Args:
        config: of `kbig finetune`, every value in force.
        dataset: what to train on.
        tokenizer: of the start.
    """

    config: Any
    dataset: Any
    tokenizer: Any

    @property
    def task(self) -> text_tasks.TextTask:
        """What the recipe does for this task."""
        return text_tasks.TASKS[self.dataset.info.task]

    @property
    def judge(self):
        """What kbig judges this task by."""
        return kbig.evaluation.TASKS[self.dataset.info.task]

    def build(self, backbone):
        """The model for the task, before a method is applied."""
        return self.task.build(
            backbone,
            self.config,
            self.dataset.arrays("train")[1],
            len(self.dataset.info.class_names),
        )

    def class_weights(self) -> dict:
        """What the batches take to weigh classes: nothing by default."""
        if self.config.class_weights == "none":
            return {}
        labels = self.dataset.arrays("train")[1]
        weights = kbig.data.balanced_class_weights(
            labels, len(self.dataset.info.class_names)
        )
        return {"class_weights": weights}


@dataclasses.dataclass(frozen=True)
class Trial:
    """What one training leaves."""

    tuning: Any
    history: dict[str, list[float]]
    speed: dict[str, float]
    outputs: np.ndarray
    report: Any
    runtime: Any

    @property
    def model(self):
        """The plain model to save: LoRA is part of its kernels."""
        return kbig.tuning.merged(self.tuning.model)


def prepared(material: Material, start: Callable, method: str) -> tuple:
    """Makes what is to be fitted, and says where.

    Args:
        material: what to train on, and how.
        start: makes the backbone, in the scope of the runtime.
        method: among `kbig.tuning.METHODS`.

    Returns:
        The `kbig.training.Runtime` and the `kbig.tuning.Tuning`.

    Raises:
        UsageError: an option is out of its range.
    """
    config = material.config
    if _has_features(material, method):
        config = _on_one_device(config)
    runtime = common.runtime(config)
    options = _method_options(config, method)
    with runtime.scope():
        model = material.build(start())
        tuning = kbig.tuning.prepare(model, method, **options)
    runtime.check_fusable(tuning.model)
    return runtime, tuning


def train(
    material: Material, start: Callable, method: str, directory: pathlib.Path
) -> Trial:
    """Builds, fine-tunes and tests.

    Args:
        material: what to train on, and how.
        start: as of `prepared`.
        method: likewise.
        directory: where the curves are recorded.
    """
    config, judge = material.config, material.judge
    runtime, tuning = prepared(material, start, method)
    print(tuning)
    on_features = _has_features(material, method)
    fit_it = _fit_on_features if on_features else fit
    history, speed = fit_it(material, tuning, runtime, directory)
    texts, labels = material.dataset.arrays("test")
    outputs = judge.predict(
        tuning.model, texts, material.tokenizer, config.sequence_length
    )
    report = judge.evaluate(outputs, labels, material.dataset.info.class_names)
    return Trial(tuning, history, speed, outputs, report, runtime)


def peak_rate(config, model, method: str) -> float:
    """The learning rate that was asked for, or one that suits the method.

    The one that was asked for is of `config.method`; a control may be
    trained by another.
    """
    if config.learning_rate and method == config.method:
        return config.learning_rate
    width = model.get_layer("token_embedding").output_dim
    rate, power = _RATES[method]
    return rate * min(1.0, _WIDTH / width) ** power


def _method_options(config, method: str) -> dict:
    return {
        "lora": {"rank": config.rank, "projections": config.projections},
        "houlsby": {"adapter_dim": config.adapter_dim},
        "pfeiffer": {"adapter_dim": config.adapter_dim},
        "layerwise": {"decay": config.layer_decay},
    }.get(method, {})


def fit(
    material: Material, tuning, runtime, directory, callbacks=()
) -> tuple[dict, dict]:
    """Trains a model, stage by stage where there are several.

    Args:
        material: what to train on, and how.
        tuning: the `kbig.tuning.Tuning` with the model.
        runtime: where.
        directory: where the curves are recorded.
        callbacks: further ones.

    Returns:
        What each epoch came to, and the speed.
    """
    config = material.config
    train, validation = text_batches.batches(material, runtime)
    steps = int(train.cardinality())
    rate = peak_rate(config, tuning.model, tuning.method)
    rows = min(config.batch_size, material.dataset.info.sizes["train"] / steps)
    throughput = kbig.training.Throughput(rows)

    def compile(model, stage):
        total = steps * (stage.epochs - stage.initial_epoch)
        optimizer = kbig.training.adamw(
            kbig.training.WarmupLinear(rate, total // 10, total),
            config.weight_decay,
            global_clipnorm=1.0,
            multipliers=tuning.learning_rate_multipliers or None,
        )
        text_tasks.compile(material.task, model, optimizer, runtime.jit_compile)

    def fit_stage(initial_epoch, epochs):
        is_last = epochs == config.epochs
        watching = [
            *callbacks,
            text_batches.metric_of_texts(material, tuning.model),
            *(text_batches.early_stopping(material) if is_last else ()),
            *kbig.training.run_callbacks(
                directory, throughput, append=initial_epoch > 0
            ),
        ]
        return tuning.model.fit(
            train,
            validation_data=validation,
            initial_epoch=initial_epoch,
            epochs=epochs,
            callbacks=watching,
            verbose=common.fit_verbosity(),
            shuffle=False,
        )

    with runtime.scope(), runtime.fusing(tuning.model) as fused:
        history = kbig.tuning.fit_in_stages(
            tuning, config.epochs, compile, fit_stage
        )
    return history, {**throughput.report(), "fused_encoders": fused}


def _fit_on_features(material, tuning, runtime, directory):
    """The encoder runs once, since nothing in it changes."""
    config = material.config
    encoder, head = kbig.tuning.head_on_features(tuning.model)
    train, validation = (
        kbig.tuning.features(encoder, batches, common.fit_verbosity() == 1)
        # Computed once, so that a row left out would never be seen.
        for batches in text_batches.batches(
            material, runtime, drop_remainder=False
        )
    )
    rows, batch_size = len(train[0]), config.batch_size
    total = -(-rows // batch_size) * config.epochs
    rate = peak_rate(config, tuning.model, tuning.method)
    throughput = kbig.training.Throughput(min(rows, batch_size))
    validation_batches = _arrays(validation, 128)

    def predict():
        return head.predict(validation_batches, verbose=0)

    with runtime.scope():
        optimizer = kbig.training.adamw(
            kbig.training.WarmupLinear(rate, total // 10, total),
            config.weight_decay,
        )
        text_tasks.compile(material.task, head, optimizer, False)
        history = head.fit(
            _arrays(train, batch_size, shuffle=True, seed=config.seed),
            validation_data=validation_batches,
            epochs=config.epochs,
            callbacks=[
                text_batches.metric_of_outputs(
                    material, predict, validation[1]
                ),
                *text_batches.early_stopping(material),
                *kbig.training.run_callbacks(directory, throughput),
            ],
            verbose=common.fit_verbosity(),
            shuffle=False,
        )
    return history.history, throughput.report()


def _has_features(material, method: str) -> bool:
    """Whether a head is trained on what is computed once."""
    # A vector a token would not fit into memory.
    return method == "frozen" and material.dataset.info.kind != "tags"


def _on_one_device(config):
    """A head is too small to share, and so are its rows."""
    if config.strategy not in ("auto", "none"):
        raise UsageError(
            "--method frozen trains a head on one device. Received: "
            f"--strategy {config.strategy}. Leave it out."
        )
    return dataclasses.replace(config, strategy="none")


def _arrays(arrays, batch_size: int, **options):
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(arrays)
    return kbig.data.batches(rows, batch_size, **options)
