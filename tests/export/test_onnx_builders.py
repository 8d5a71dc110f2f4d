"""Every builder as ONNX: the same numbers, at any batch and length."""

import onnx
import pytest

from tests.contracts import as_trained
from tests.export.onnx_files import counts
from tests.export.onnx_files import float_weights
from tests.export.onnx_files import largest_difference
from tests.export.onnx_files import onnx_file
from tests.models.test_contract import BUILDERS

# The others take their turn among the slow tests.
QUICK = (
    "mlp",
    "cnn-residual",
    "rnn-lstm",
    "rnn-gru",
    "transformer-tokens",
    "bert_classifier",
    "bert_masked_lm-next_sentence",
)
every_builder = pytest.mark.parametrize(
    "name",
    [
        pytest.param(x, marks=() if x in QUICK else pytest.mark.slow)
        for x in BUILDERS
    ],
)
# Products in the body of a loop stay in float.
LOOPS = ("rnn-gru", "rnn-simple")


def trained(name):
    """A model as after training, and what it is given."""
    build, x, _ = BUILDERS[name]
    return as_trained(build()), x


def fewer_and_shorter(model, x):
    """Three rows of another length, where the model leaves it free."""
    arrays = x if isinstance(x, dict) else {model.inputs[0].name: x}
    free = {
        i.name: len(i.shape) > 1 and i.shape[1] is None for i in model.inputs
    }
    return {
        name: value[:3, :-1] if free[name] and value.shape[1] > 2 else value[:3]
        for name, value in arrays.items()
    }


@pytest.mark.first_cases(1)
@every_builder
def test_float32_and_dynamic_are_the_model(name, tmp_path, monkeypatch):
    model, x = trained(name)
    file = onnx_file(model, x, tmp_path, monkeypatch)
    others = fewer_and_shorter(model, x)
    assert largest_difference(file, model, x) <= 1e-5
    assert largest_difference(file, model, others) <= 1e-5
    check_axes(onnx.load(file).graph)
    dynamic = onnx_file(model, x, tmp_path, monkeypatch, "dynamic")
    assert largest_difference(dynamic, model, x) <= 5e-2
    assert bool(float_weights(dynamic)) == (name in LOOPS)
    assert "Gemm" not in counts(dynamic)


def check_axes(graph):
    for value in (*graph.input, *graph.output):
        batch, *others = value.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        for index, side in enumerate(others, 1):
            free = f"{value.name}_{index}"
            assert side.dim_value or side.dim_param == free
