"""LiteRT files without XNNPACK: a phone may have other kernels.

XNNPACK computes wherever it can, which here is in every file. Without it the
interpreter's own kernels answer, and both must, with any number of threads.
"""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.interpreter import OpResolverType

from kbig import compression
from kbig.export.compare import TOLERANCES
from kbig.export.compare import largest_difference
from kbig.export.kinds import weights_of
from kbig.export.litert import write_litert
from kbig.export.samples import named_samples
from kbig.export.signatures import call_by_name
from tests.export.test_onnx_builders import trained

KERNELS = {
    "XNNPACK": OpResolverType.AUTO,
    "own": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}
# Between kernels, as a share of the range. Those that compute in float differ
# by the order of sums. Where activations are rounded, a tie may become the
# next of 255 steps; in int8 it may in every layer.
BETWEEN_KERNELS = {
    "float32": 1e-5,
    "int8-weights": 1e-5,
    "dynamic": 1e-2,
    "int8": 4e-2,
}
NAMES = (
    "mlp",
    "cnn-residual",
    "rnn-lstm",
    "rnn-gru",
    "transformer-tokens",
    "bert_classifier",
)
TOO_SMALL = ("cnn-residual", "rnn-lstm")  # For weights in int8.
QUICK = (
    ("mlp", "int8-weights"),
    ("cnn-residual", "int8"),
    ("rnn-lstm", "float32"),
    ("rnn-gru", "dynamic"),
    ("transformer-tokens", "int8"),
)


def litert_file(model, x, folder, mode="float32"):
    """Writes an unverified file."""
    file = folder / f"model-{mode}.tflite"
    write_litert(model, file, mode, named_samples(model, x))
    return file


def prepared(name, mode):
    """A model for the mode, and what to ask it."""
    model, x = trained(name)
    if mode == "int8":
        model = compression.quantize_aware(model, x)
    return model, x


def run(file, samples, kernels, threads):
    """The outputs of all rows, and whether a delegate computed them."""
    interpreter = Interpreter(
        model_path=str(file),
        num_threads=threads,
        experimental_op_resolver_type=KERNELS[kernels],
    )
    runner = interpreter.get_signature_runner("serving_default")
    count = len(next(iter(samples.values())))
    rows = [
        runner(**{k: v[i : i + 1] for k, v in samples.items()})
        for i in range(count)
    ]
    operations = {x["op_name"] for x in interpreter._get_ops_details()}
    outputs = {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}
    return outputs, "DELEGATE" in operations


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "name, mode",
    [
        pytest.param(
            *case,
            marks=() if case in QUICK else pytest.mark.slow,
            id="-".join(case),
        )
        for case in [(n, m) for n in NAMES for m in BETWEEN_KERNELS]
        if case[1] != "int8-weights" or case[0] not in TOO_SMALL
    ],
)
def test_kernels_and_threads_agree(name, mode, tmp_path):
    model, x = prepared(name, mode)
    file = litert_file(model, x, tmp_path, mode)
    samples = named_samples(model, x)
    with_one = {k: run(file, samples, k, threads=1) for k in KERNELS}
    assert with_one["XNNPACK"][1] and not with_one["own"][1]
    expected = call_by_name(model, samples)
    for kernels, (outputs, _) in with_one.items():
        with_two, _ = run(file, samples, kernels, threads=2)
        assert set(outputs) == set(expected)
        for key, got in outputs.items():
            share = largest_difference(got, np.asarray(expected[key]))
            assert share <= TOLERANCES[weights_of(file)], kernels
            reference = with_one["XNNPACK"][0][key]
            share = largest_difference(got, reference)
            assert share <= BETWEEN_KERNELS[mode], kernels
            assert largest_difference(with_two[key], got) <= 1e-5, kernels
