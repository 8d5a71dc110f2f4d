"""The model of `kbig pretrain-mlm`: its start and its training."""

import dataclasses
from typing import Any

import numpy as np

import kbig
from kbig.errors import GateError
from recipes import common
from recipes import vocabularies
from recipes.pretrain_data import Corpus
from recipes.pretrain_data import Words
from recipes.pretrain_rows import Rows

_CURVE_POINTS = 4
# Peak learning rate of a BERT so wide; wider ones take less.
_RATE, _WIDTH = 2e-3, 128
_EVALUATION = {"rate": 0.15, "masking": "token"}


@dataclasses.dataclass(frozen=True)
class Start:
    """What pretraining starts from."""

    words: Words
    backbone: Any
    masked_lm: Any = None


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What training left, beside the weights."""

    history: dict[str, list[float]]
    curves: dict[str, str]
    metrics: dict[str, float]
    steps: int


@dataclasses.dataclass(frozen=True)
class Stage:
    """One call of `fit`: equal parts, each a point of the curves."""

    first_part: int
    parts: int
    steps: int
    first_step: int


def start(config, corpus: Corpus) -> Start:
    """Loads what --from names, or begins anew with a vocabulary."""
    if config.from_:
        found = kbig.pretrained.load(config.from_)
        words = Words(
            found.vocabulary, found.lowercase, bool(found.strip_accents)
        )
        return Start(words, found.backbone, found.masked_lm)
    if config.vocabulary:
        vocabulary = kbig.data.load_vocabulary(config.vocabulary)
        words = Words(vocabulary, *vocabularies.casing(config).values())
    else:
        words = Words(*vocabularies.new_vocabulary(corpus.train, config))
    backbone = kbig.models.bert(config.size, len(words.vocabulary))
    return Start(words, kbig.models.mimetic_start(backbone))


def peak_rate(config, backbone) -> float:
    """The learning rate that was asked for, or one that suits the width.

    What goes on from a pretrained model must not forget it: a third.
    """
    if config.learning_rate:
        return config.learning_rate
    rate = _RATE * min(1.0, (_WIDTH / backbone.hidden_dim) ** 2)
    return rate / 3 if config.from_ else rate


def model(start: Start, config, frequencies: np.ndarray):
    """The pretraining model; its heads go on where those of --from ended."""
    model = kbig.models.bert_masked_lm(
        start.backbone, config.objective != "mlm", frequencies
    )
    if start.masked_lm is not None:
        known = {v.path: v for v in start.masked_lm.weights}
        for variable in model.weights:
            if variable.path in known:
                variable.assign(known[variable.path])
    return model


def stages(total: int, most: int) -> list[Stage]:
    """Divides steps into parts, so that the first have one step more.

    Args:
        total: all steps.
        most: parts, unless there are fewer steps.

    Returns:
        A call of `fit` for each number of steps a part.
    """
    parts = min(total, most)
    steps, longer = divmod(total, parts)
    found = [Stage(longer, parts - longer, steps, longer * (steps + 1))]
    if longer:
        found.insert(0, Stage(0, longer, steps + 1, 0))
    return found


def fit(
    config, runtime, model, train: Rows, held_out: Rows, start: Start, run
) -> Fitted:
    """Trains the model, in parts that give the points of its curves.

    Raises:
        GateError: it diverged.
    """
    trained = kbig.models.packed(model) if config.pack else model
    replicas = runtime.num_replicas
    validation = _batches(held_out, start, config, replicas)
    total = config.steps or config.epochs * kbig.data.mixed_steps(
        train.groups, config.batch_size, replicas
    )
    throughput = _throughput(train, start, config, runtime)
    history = {}
    dropout = kbig.training.dropout_at(model, config.dropout)
    with runtime.scope(), dropout, runtime.fusing(trained) as fused:
        _compile(trained, runtime, config, total)
        for stage in stages(total, max(config.epochs, _CURVE_POINTS)):
            fitted = trained.fit(
                _batches(train, start, config, replicas, stage),
                steps_per_epoch=stage.steps,
                initial_epoch=stage.first_part,
                epochs=stage.first_part + stage.parts,
                validation_data=validation,
                callbacks=kbig.training.run_callbacks(
                    run.directory, throughput, append=stage.first_part > 0
                ),
                verbose=common.fit_verbosity(),
                shuffle=False,
            )
            for name, values in fitted.history.items():
                history.setdefault(name, []).extend(values)
    _check_converged(history["val_loss"][-1])
    speed = {**throughput.report(), "fused_encoders": fused}
    return _fitted(model, history, speed, total)


def _check_converged(loss: float) -> None:
    if not np.isfinite(loss):
        raise GateError(
            "Training diverged: the held-out loss must be a finite number. "
            f"Received: {loss}. No model was saved. Lower --learning-rate."
        )


def _fitted(model, history, speed, total: int) -> Fitted:
    names = _names(model)
    metrics = {
        "test_loss": history[f"val_{names['loss']}"][-1],
        "test_accuracy": history[f"val_{names['accuracy']}"][-1],
        **speed,
    }
    curves = {
        names["loss"]: "Masked tokens: loss",
        names["accuracy"]: "Masked tokens: accuracy",
    }
    if "next_sentence" in names:
        metrics["next_sentence_accuracy"] = history[
            f"val_{names['next_sentence']}"
        ][-1]
        curves[names["next_sentence"]] = "Pairs: accuracy"
    return Fitted(history, curves, metrics, total)


def _compile(model, runtime, config, total: int) -> None:
    import keras

    def cross_entropy(name):
        # Averaged over hidden tokens only, not over padding.
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight", name=name
        )

    rate = kbig.training.WarmupLinear(config.learning_rate, total // 10, total)
    optimizer = kbig.training.adamw(
        rate, config.weight_decay, global_clipnorm=1.0
    )
    loss, metrics = cross_entropy(None), ["accuracy"]
    if isinstance(model.output, dict):
        loss = {name: cross_entropy(name) for name in model.output}
        metrics = {name: ["accuracy"] for name in model.output}
    model.compile(
        optimizer,
        loss,
        weighted_metrics=metrics,
        jit_compile=runtime.jit_compile,
    )


def _names(model) -> dict[str, str]:
    """What Keras calls the losses and metrics of the heads."""
    if not isinstance(model.output, dict):
        return {"loss": "loss", "accuracy": "accuracy"}
    return {
        "loss": "masked_lm_loss",
        "accuracy": "masked_lm_accuracy",
        "next_sentence": "next_sentence_accuracy",
    }


def _throughput(rows: Rows, start: Start, config, runtime):
    backbone = start.backbone
    dtype = "bfloat16" if "bfloat16" in runtime.precision else "float32"
    attended = _attended(rows.groups)
    return kbig.training.Throughput(
        rows.fill * config.sequence_length * config.batch_size,
        unit="tokens",
        flops_per_unit=kbig.training.bert_training_flops(
            backbone.num_layers,
            backbone.hidden_dim,
            attended,
            backbone.vocabulary_size,
            config.rate * attended,
            backbone.intermediate_dim,
        ),
        peak_gflops=kbig.training.matmul_peak(dtype),
    )


def _attended(groups) -> int:
    """How many tokens a token attends to, on average over the tokens."""
    if "text_ids" not in groups[0]:
        return groups[0]["token_ids"].shape[1]
    sizes = np.concatenate([_text_sizes(rows["text_ids"]) for rows in groups])
    return round((sizes**2).sum() / sizes.sum())


def _text_sizes(text_ids: np.ndarray) -> np.ndarray:
    rows, length = text_ids.shape
    numbered = text_ids + length * np.arange(rows).reshape(-1, 1)
    return np.unique(numbered[text_ids > 0], return_counts=True)[1]


def _batches(
    rows: Rows, start: Start, config, replicas: int, stage: Stage | None = None
):
    """Batches of one call of `fit`, or those to evaluate on."""
    words, chosen = start.words, _EVALUATION
    if stage:
        chosen = {"rate": config.rate, "masking": config.masking}
    return kbig.data.mixed_batches(
        rows.groups,
        config.batch_size,
        multiple=replicas,
        vocabulary_size=len(words.vocabulary),
        mask_id=words.vocabulary.index("[MASK]"),
        special_ids=words.special_ids,
        max_predictions=max(1, round(config.sequence_length * chosen["rate"])),
        continues=kbig.data.continuing_pieces(words.vocabulary),
        pad_id=words.pad_id,
        seed=config.seed,
        training=stage is not None,
        first_step=stage.first_step if stage else 0,
        **chosen,
    )
