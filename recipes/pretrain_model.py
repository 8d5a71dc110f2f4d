"""The model of `kbig pretrain-mlm`: its start, its training, what it says."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

import kbig
from recipes import common
from recipes.pretrain_data import Corpus
from recipes.pretrain_data import Words

_CURVE_POINTS = 4
_EVALUATION = {"rate": 0.15, "masking": "token"}
_EXAMPLES = 6


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
        words = Words(vocabulary, *common.casing(config).values())
    else:
        words = Words(*common.new_vocabulary(corpus.train, config))
    return Start(words, kbig.models.bert(config.size, len(words.vocabulary)))


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


def fit(config, runtime, model, rows, start: Start, run) -> Fitted:
    """Trains the model, in equal parts that give the points of its curves."""
    train, held_out = rows
    trained = kbig.models.packed(model) if config.pack else model
    count = len(train["token_ids"])
    config = dataclasses.replace(
        config,
        batch_size=common.shared_batch(config.batch_size, count, runtime),
    )
    total = config.steps or count // config.batch_size * config.epochs
    parts = min(total, max(config.epochs, _CURVE_POINTS))
    total -= total % parts
    throughput = _throughput(train, start, config, runtime)
    with runtime.scope():
        _compile(trained, runtime, config, total)
        history = trained.fit(
            _batches(train, start, config, training=True),
            steps_per_epoch=total // parts,
            epochs=parts,
            validation_data=_batches(held_out, start, config, training=False),
            callbacks=kbig.training.run_callbacks(run.directory, throughput),
            verbose=common.fit_verbosity(),
            shuffle=False,
        ).history
    names = _names(model)
    metrics = {
        "test_loss": history[f"val_{names['loss']}"][-1],
        "test_accuracy": history[f"val_{names['accuracy']}"][-1],
        **throughput.report(),
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


def fill_ins(model, start: Start, texts: Iterable[str], config):
    """A section: a hidden token of some held-out texts, and what is said."""
    words = start.words
    tokenizer = kbig.data.tokenizer(
        words.vocabulary, words.lowercase, words.strip_accents
    )
    paragraphs = (p for text in texts for p in text.split("\n"))
    long = (p for p in paragraphs if 40 <= len(p) <= 400)
    chosen = list(itertools.islice(long, 0, 20 * _EXAMPLES, 20))
    if not chosen:
        return kbig.reporting.Section("Fill-ins", [], "No text of 40 letters.")
    inputs = kbig.data.encode(chosen, tokenizer, config.sequence_length)
    inputs = {name: values.numpy() for name, values in inputs.items()}
    # Half way through what is there of each text.
    hidden = inputs["padding_mask"].sum(1, keepdims=True) // 2
    answers = np.take_along_axis(inputs["token_ids"], hidden, 1)[:, 0]
    np.put_along_axis(
        inputs["token_ids"], hidden, words.vocabulary.index("[MASK]"), 1
    )
    inputs["mask_positions"] = hidden.astype("int32")
    outputs = model.predict(inputs, verbose=0)
    if isinstance(outputs, dict):
        outputs = outputs["masked_lm"]
    rows = [
        (_shown(ids, words.vocabulary), words.vocabulary[answer], _best(*said))
        for ids, answer, *said in zip(
            inputs["token_ids"],
            answers,
            outputs[:, 0],
            itertools.repeat(words.vocabulary),
        )
    ]
    table = kbig.reporting.Table("", ("text", "hidden", "said"), rows)
    return kbig.reporting.Section(
        "Fill-ins", [table], "Held-out texts with one token hidden."
    )


def _shown(ids, vocabulary) -> str:
    pieces = [vocabulary[i] for i in ids]
    kept = [p for p in pieces if p not in ("[CLS]", "[SEP]", "[PAD]")]
    return " ".join(kept).replace(" ##", "")


def _best(logits, vocabulary) -> str:
    shares = kbig.evaluation.probabilities(logits[np.newaxis])[0]
    best = np.argsort(-shares)[:3]
    return ", ".join(f"{vocabulary[i]} {shares[i]:.0%}" for i in best)


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


def _throughput(rows, start: Start, config, runtime):
    tokens = rows["token_ids"] != start.words.pad_id
    per_row, backbone = tokens.sum() / len(tokens), start.backbone
    dtype = "bfloat16" if "bfloat16" in runtime.precision else "float32"
    attended = _attended(rows)
    return kbig.training.Throughput(
        per_row * config.batch_size,
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


def _attended(rows) -> int:
    """How many tokens a token attends to, on average over the tokens."""
    if "text_ids" not in rows:
        return rows["token_ids"].shape[1]
    texts = rows["text_ids"] + len(rows["text_ids"][0]) * np.arange(
        len(rows["text_ids"])
    ).reshape(-1, 1)
    _, sizes = np.unique(texts[rows["text_ids"] > 0], return_counts=True)
    return round((sizes**2).sum() / sizes.sum())


def _batches(rows, start: Start, config, training: bool):
    words = start.words
    chosen = {"rate": config.rate, "masking": config.masking}
    if not training:
        chosen = _EVALUATION
    length = rows["token_ids"].shape[1]
    return kbig.data.masked_batches(
        rows,
        config.batch_size,
        vocabulary_size=len(words.vocabulary),
        mask_id=words.vocabulary.index("[MASK]"),
        special_ids=words.special_ids,
        max_predictions=max(1, round(length * chosen["rate"])),
        continues=kbig.data.continuing_pieces(words.vocabulary),
        pad_id=words.pad_id,
        seed=config.seed,
        training=training,
        **chosen,
    )
