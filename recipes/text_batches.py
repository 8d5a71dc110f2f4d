"""What every training of a text model is fed with and watched by."""

import kbig
from recipes import common


def batches(material, runtime, drop_remainder: bool = True) -> tuple:
    """Batches to train on and to validate on.

    Args:
        material: what to train on, and how.
        runtime: whose replicas share each batch.
        drop_remainder: whether batches to train on may be left out that are
            not full, where there are many.
    """
    config, dataset = material.config, material.dataset
    texts, labels = dataset.arrays("train")
    many = len(texts) >= 20 * config.batch_size
    make = material.task.batches

    def shared(batch_size, rows):
        return common.shared_batch(batch_size, rows, runtime, bucketed=True)

    return make(
        texts,
        labels,
        shared(config.batch_size, len(texts)),
        material.tokenizer,
        config.sequence_length,
        shuffle=True,
        seed=config.seed,
        # XLA compiles each shape of a batch anew; replicas share evenly.
        drop_remainder=drop_remainder and many,
        **material.class_weights(),
    ), make(
        *dataset.arrays("validation"),
        shared(128, dataset.info.sizes["validation"]),
        material.tokenizer,
        config.sequence_length,
    )


def metric_of_texts(material, model):
    """A callback: the task's main metric of a model on validation rows."""
    texts, labels = material.dataset.arrays("validation")
    length = material.config.sequence_length

    def predict():
        return material.judge.predict(model, texts, material.tokenizer, length)

    return metric_of_outputs(material, predict, labels)


def metric_of_outputs(material, predict, labels):
    """Likewise, of what `predict()` returns."""
    return kbig.evaluation.ValidationMetric(
        material.judge, predict, labels, material.dataset.info.class_names
    )


def early_stopping(material) -> list:
    """A callback that watches that metric, where --patience asks for one."""
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
