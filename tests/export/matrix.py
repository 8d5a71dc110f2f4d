"""Every builder in every format: it works, or is refused with a reason.

python -m tests.export.matrix

prints the table of README.md, from real exports; names of rows, as
"forecaster", print these alone.
"""

import argparse
import contextlib
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np

import kbig
from kbig import models
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export import processes
from tests.contracts import as_trained
from tests.conversion import converted_here

# Large enough that there are weights worth rounding.
ROWS, WORDS, WIDTH = 32, 100, 32
_GENERATOR = np.random.default_rng(0)
IMAGES = _GENERATOR.integers(0, 256, (ROWS, 8, 8, 1)).astype("float32")
FEATURES = _GENERATOR.normal(size=(ROWS, 6, 3)).astype("float32")
TOKENS = _GENERATOR.integers(1, WORDS, (ROWS, 6)).astype("int32")
TOKENS[::2, 4:] = 0
BERT = {
    "token_ids": TOKENS,
    "segment_ids": np.zeros_like(TOKENS),
    "padding_mask": (TOKENS != 0).astype("int32"),
}
MASKED = {**BERT, "mask_positions": np.tile([1, 3], (ROWS, 1)).astype("int32")}


def bert():
    size = {"num_layers": 1, "hidden_dim": WIDTH, "num_heads": 2}
    return models.bert({**size, "max_sequence_length": 8}, WORDS)


def cnn(block: str):
    return models.cnn(
        (8, 8, 1), 3, filters=(8, 16), block=block, rescale=1 / 255
    )


def on_tokens(cell: str, **options):
    return models.rnn(
        None,
        3,
        cell,
        (WIDTH,),
        vocabulary_size=WORDS,
        embedding_dim=WIDTH,
        **options,
    )


def on_features(cell: str, **options):
    return models.rnn((6, 3), 3, cell, (WIDTH,), **options)


# Name, builder, inputs.
BUILDERS = {
    "MLP": (
        lambda: models.mlp((8, 8, 1), 3, (WIDTH,), rescale=1 / 255),
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
    **{
        f"bidirectional {title} on {what}": (
            lambda f=build, c=cell: f(c, bidirectional=True),
            x,
        )
        for title, cell, what, build, x in (
            ("LSTM", "lstm", "features", on_features, FEATURES),
            ("LSTM", "lstm", "tokens", on_tokens, TOKENS),
            ("GRU", "gru", "features", on_features, FEATURES),
            ("GRU", "gru", "tokens", on_tokens, TOKENS),
            ("SimpleRNN", "simple", "features", on_features, FEATURES),
        )
    },
    "forecaster": (
        lambda: models.forecaster((6, 3), 4, units=(WIDTH,)),
        FEATURES,
    ),
    "transformer on features": (
        lambda: models.transformer(3, input_shape=(6, 3), hidden_dim=WIDTH),
        FEATURES,
    ),
    "transformer on tokens": (
        lambda: models.transformer(
            3, vocabulary_size=WORDS, hidden_dim=WIDTH, max_length=8
        ),
        TOKENS,
    ),
    "BERT classifier": (lambda: models.bert_classifier(bert(), 3), BERT),
    "BERT token classifier": (
        lambda: models.bert_token_classifier(bert(), 3),
        BERT,
    ),
    "BERT masked LM": (lambda: models.bert_masked_lm(bert()), MASKED),
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
# By what the error says; what README says of it.
REFUSALS = {
    "no weights to round": "No weight has 1,024 numbers, or a loop is handed "
    "it: there is nothing to round. Take `float32`.",
    "Rounded without training": "Rounded without training it is too "
    "far from the model. Train for int8 (`kbig.compression.quantize_aware`), "
    "or take `dynamic`.",
    "only of models that take floats": "The converter has int16 only for "
    "inputs of floats. Take `int8` or `dynamic`.",
}


def trained(name: str):
    """A model as after training, and what it is given."""
    build, x = BUILDERS[name]
    # What rounding costs depends on the weights.
    keras.utils.set_random_seed(0)
    return as_trained(build()), x


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


def outcome(model, x, column: str) -> str:
    """`WORKS` when it was proved, or the number of the refusal."""
    here = mock.patch.object(processes, "convert", converted_here)
    with tempfile.TemporaryDirectory() as folder, here:
        folder = pathlib.Path(folder)
        try:
            assert export(model, x, column, folder).exists()
        except (GateError, UsageError) as error:
            assert not list(folder.iterdir())
            (known,) = (said for said in REFUSALS if said in str(error))
            return str([*REFUSALS].index(known) + 1)
    return WORKS


def main() -> None:
    """Prints the table, and below it what the refusals mean."""
    parser = argparse.ArgumentParser(prog="python -m tests.export.matrix")
    parser.add_argument("names", nargs="*", help="of rows; by default all")
    names = parser.parse_args().names or [*BUILDERS]
    unknown = {*names} - {*BUILDERS}
    if unknown:
        parser.error(f"{', '.join(unknown)}: not among {', '.join(BUILDERS)}")
    print(f"{HEAD}\n|{' --- |' * (len(COLUMNS) + 1)}")
    for name in names:
        model, x = trained(name)
        with contextlib.redirect_stdout(None):
            cells = [outcome(model, x, column) for column in COLUMNS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print()
    for number, meaning in enumerate(REFUSALS.values(), 1):
        print(f"{number}. {meaning}")


if __name__ == "__main__":
    main()
