"""Every builder in every format: it works, or is refused with a reason.

python -m tests.export.matrix

prints the table of README.md, from real exports.
"""

import contextlib
import functools
import pathlib
import runpy
import tempfile
from unittest import mock

import numpy as np

import kbig
from kbig import models
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export import processes
from tests.models.test_contract import tiny_bert

ROWS = 32
_GENERATOR = np.random.default_rng(0)
IMAGES = _GENERATOR.integers(0, 256, (ROWS, 8, 8, 1)).astype("float32")
FEATURES = _GENERATOR.normal(size=(ROWS, 6, 3)).astype("float32")
TOKENS = _GENERATOR.integers(1, 20, (ROWS, 6)).astype("int32")
TOKENS[::2, 4:] = 0
BERT = {
    "token_ids": TOKENS,
    "segment_ids": np.zeros_like(TOKENS),
    "padding_mask": (TOKENS != 0).astype("int32"),
}
MASKED = {**BERT, "mask_positions": np.tile([1, 3], (ROWS, 1)).astype("int32")}


def cnn(block: str):
    return models.cnn(
        (8, 8, 1), 3, filters=(4, 8), block=block, rescale=1 / 255
    )


def on_tokens(cell: str, **options):
    return models.rnn(
        None, 3, cell, (8,), vocabulary_size=20, embedding_dim=8, **options
    )


def on_features(cell: str, **options):
    return models.rnn((6, 3), 3, cell, (8,), **options)


# Name, builder, inputs.
BUILDERS = {
    "MLP": (
        lambda: models.mlp((8, 8, 1), 3, (16,), rescale=1 / 255),
        IMAGES,
    ),
    **{
        f"CNN, {block}": (lambda block=block: cnn(block), IMAGES)
        for block in ("plain", "residual", "depthwise")
    },
    **{
        f"{title} on {what}": (lambda f=build, c=cell: f(c), x)
        for cell, title in (
            ("lstm", "LSTM"),
            ("gru", "GRU"),
            ("simple", "SimpleRNN"),
        )
        for what, build, x in (
            ("features", on_features, FEATURES),
            ("tokens", on_tokens, TOKENS),
        )
    },
    "bidirectional LSTM on tokens": (
        lambda: on_tokens("lstm", bidirectional=True),
        TOKENS,
    ),
    "bidirectional GRU on features": (
        lambda: on_features("gru", bidirectional=True),
        FEATURES,
    ),
    "transformer on features": (
        lambda: models.transformer(3, input_shape=(6, 3), hidden_dim=16),
        FEATURES,
    ),
    "transformer on tokens": (
        lambda: models.transformer(
            3, vocabulary_size=20, hidden_dim=16, max_length=8
        ),
        TOKENS,
    ),
    "BERT classifier": (lambda: models.bert_classifier(tiny_bert(), 3), BERT),
    "BERT masked LM": (lambda: models.bert_masked_lm(tiny_bert()), MASKED),
}
TRAINED, ROUNDED = "litert-int8", "litert-int8, rows"
COLUMNS = (
    "savedmodel",
    "litert-float32",
    "litert-float16",
    "litert-dynamic",
    "litert-int8-weights",
    TRAINED,
    ROUNDED,
    "litert-int16",
    "onnx-float32",
    "onnx-dynamic",
    "onnx-int8",
)
WORKS = "✓"
HEAD = f"| | {' | '.join(COLUMNS)} |"


def trained(name: str):
    """As after training: no bias is zero, no scale is one."""
    build, x = BUILDERS[name]
    model = build()
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * generator.normal(size=weight.shape))
    return model, x


def export(model, x, column: str, folder: pathlib.Path):
    """Writes one artefact; returns where it is."""
    if column in (ROUNDED, "litert-int16"):
        mode = column.removeprefix("litert-").partition(",")[0]
        file = folder / f"m-{mode}.tflite"
        kbig.export.litert(model, file, mode, samples=x, representative=x)
        return file
    if column.endswith("-int8"):
        model = kbig.compression.quantize_aware(model, x)
    report = kbig.export.artefacts(model, folder, [column], samples=x)
    return pathlib.Path(report.artefacts[0].path)


@functools.cache
def converter(script: pathlib.Path):
    return runpy.run_path(str(script))["convert"]


def converted_here(script, arguments, name) -> None:
    """In this process, which need not survive a crash."""
    saved_model, file, *options = map(str, arguments)
    options = [int(x) if x.isdigit() else x for x in options]
    try:
        content = converter(script)(saved_model, *options)
    except Exception as error:  # noqa: BLE001
        last = str(error).strip().rpartition("\n")[2]
        raise GateError(f"{name} does not convert: {last}") from error
    pathlib.Path(file).write_bytes(content)


def outcome(model, x, column: str) -> str:
    """Empty when it was proved, or why it was refused."""
    here = mock.patch.object(processes, "convert", converted_here)
    with tempfile.TemporaryDirectory() as folder, here:
        folder = pathlib.Path(folder)
        try:
            assert export(model, x, column, folder).exists()
        except (GateError, UsageError) as error:
            assert not list(folder.iterdir())
            return str(error)
    return ""


def main() -> None:
    """Prints the table, and below it what the refusals say."""
    reasons = []
    print(f"{HEAD}\n|{' --- |' * (len(COLUMNS) + 1)}")
    for name in BUILDERS:
        model, x = trained(name)
        cells = []
        for column in COLUMNS:
            with contextlib.redirect_stdout(None):
                reason = outcome(model, x, column)
            if reason and reason not in reasons:
                reasons.append(reason)
            cells.append(f"{reasons.index(reason) + 1}" if reason else WORKS)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print()
    for number, reason in enumerate(reasons, 1):
        print(f"{number}. {reason}")


if __name__ == "__main__":
    main()
