"""One training of a text model: by some method, from some start, one seed."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import kbig
from recipes import common
from recipes import text_tasks

# Peak learning rates for a model 128 wide; wider ones take less.
_RATES = {
    "full": 5e-4,
    "frozen": 5e-3,
    "gradual": 5e-4,
    "layerwise": 7e-4,
    "lora": 3e-3,
    "houlsby": 3e-3,
    "pfeiffer": 3e-3,
    "bitfit": 3e-3,
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
    runtime = common.runtime(material.config, xla_pays_on_cpu=True)
    options = _method_options(material.config, method)
    with runtime.scope():
        model = material.build(start())
        return runtime, kbig.tuning.prepare(model, method, **options)


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
    fit = _fit_on_features if method == "frozen" else _fit
    if material.dataset.info.kind == "tags":
        fit = _fit  # A vector a token would not fit into memory.
    history, speed = fit(material, tuning, runtime, directory)
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
    return _RATES[method] * min(1.0, _WIDTH / width)


def _method_options(config, method: str) -> dict:
    return {
        "lora": {"rank": config.rank, "projections": config.projections},
        "houlsby": {"adapter_dim": config.adapter_dim},
        "pfeiffer": {"adapter_dim": config.adapter_dim},
        "layerwise": {"decay": config.layer_decay},
    }.get(method, {})


def _fit(material, tuning, runtime, directory):
    config = material.config
    train, validation = _batches(material, runtime)
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

    def fit(initial_epoch, epochs):
        is_last = epochs == config.epochs
        callbacks = [
            _metric_of_texts(material, tuning.model),
            *(_early_stopping(material) if is_last else ()),
            *kbig.training.run_callbacks(
                directory, throughput, append=initial_epoch > 0
            ),
        ]
        return tuning.model.fit(
            train,
            validation_data=validation,
            initial_epoch=initial_epoch,
            epochs=epochs,
            callbacks=callbacks,
            verbose=common.fit_verbosity(),
            shuffle=False,
        )

    with runtime.scope():
        history = kbig.tuning.fit_in_stages(tuning, config.epochs, compile, fit)
    return history, throughput.report()


def _fit_on_features(material, tuning, runtime, directory):
    """The encoder runs once, since nothing in it changes."""
    config = material.config
    encoder, head = kbig.tuning.head_on_features(tuning.model)
    train, validation = (
        kbig.tuning.features(encoder, batches, common.fit_verbosity() == 1)
        # Computed once, so that a row left out would never be seen.
        for batches in _batches(material, runtime, drop_remainder=False)
    )
    rows, batch_size = len(train[0]), config.batch_size
    total = -(-rows // batch_size) * config.epochs
    rate = peak_rate(config, tuning.model, tuning.method)
    throughput = kbig.training.Throughput(min(rows, batch_size))
    with runtime.scope():
        optimizer = kbig.training.adamw(
            kbig.training.WarmupLinear(rate, total // 10, total),
            config.weight_decay,
        )
        text_tasks.compile(material.task, head, optimizer, False)
    x, y, *weights = train
    history = head.fit(
        x,
        y,
        batch_size=batch_size,
        sample_weight=weights[0] if weights else None,
        validation_data=validation,
        epochs=config.epochs,
        callbacks=[
            _validation_metric(
                material,
                lambda: head.predict(validation[0], 128, verbose=0),
                validation[1],
            ),
            *_early_stopping(material),
            *kbig.training.run_callbacks(directory, throughput),
        ],
        verbose=common.fit_verbosity(),
    )
    return history.history, throughput.report()


def _batches(material, runtime, drop_remainder: bool = True):
    config, dataset = material.config, material.dataset
    texts, labels = dataset.arrays("train")
    many = len(texts) >= 20 * config.batch_size
    make = material.task.batches
    return make(
        texts,
        labels,
        common.shared_batch(config.batch_size, len(texts), runtime),
        material.tokenizer,
        config.sequence_length,
        shuffle=True,
        seed=config.seed,
        # XLA compiles each shape of a batch anew; replicas share evenly.
        drop_remainder=drop_remainder and many,
        **material.class_weights(),
    ), make(
        *dataset.arrays("validation"),
        128,
        material.tokenizer,
        config.sequence_length,
    )


def _metric_of_texts(material, model):
    texts, labels = material.dataset.arrays("validation")
    length = material.config.sequence_length

    def predict():
        return material.judge.predict(model, texts, material.tokenizer, length)

    return _validation_metric(material, predict, labels)


def _validation_metric(material, predict, labels):
    return kbig.evaluation.ValidationMetric(
        material.judge, predict, labels, material.dataset.info.class_names
    )


def _early_stopping(material) -> list:
    import keras

    if not material.config.patience:
        return []
    return [
        keras.callbacks.EarlyStopping(
            f"val_{material.judge.metric}",
            mode="max",
            patience=material.config.patience,
            restore_best_weights=True,
            verbose=1,
        )
    ]
