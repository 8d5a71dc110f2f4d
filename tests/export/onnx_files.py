"""An .onnx file of a model, as its user would get it, without the waiting."""

import numpy as np
import onnx
import onnxruntime

from kbig.export import processes
from kbig.export.onnx import write_onnx
from kbig.export.onnx_graph import all_nodes
from kbig.export.samples import named_samples
from kbig.export.signatures import call_by_name
from tests.conversion import converted_here


class Once:
    """Converts a model once."""

    def __init__(self):
        self._content = None

    def __call__(self, script, arguments, name) -> None:
        _, file, _ = arguments
        if self._content is None:
            converted_here(script, arguments, name)
            self._content = file.read_bytes()
        file.write_bytes(self._content)


def onnx_file(model, x, folder, monkeypatch, mode="float32", **options):
    """Writes an unverified file."""
    if not isinstance(processes.convert, Once):
        monkeypatch.setattr(processes, "convert", Once())
    file = folder / f"model-{mode}.onnx"
    write_onnx(model, file, mode, named_samples(model, x), **options)
    return file


def run(file, model, x) -> dict[str, np.ndarray]:
    """All outputs by name, from a session as any user opens it."""
    session = opened(file)
    samples = named_samples(model, x)
    feeds = {x.name: samples[x.name] for x in session.get_inputs()}
    names = [x.name for x in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def opened(file, optimized="") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(
        file, options, providers=["CPUExecutionProvider"]
    )


def largest_difference(file, model, x) -> float:
    """From what Keras gives, as a share of its range; over all outputs."""
    got = run(file, model, x)
    expected = call_by_name(model, named_samples(model, x))
    assert set(got) == set(expected)
    shares = []
    for name, value in expected.items():
        value = np.asarray(value)
        assert got[name].shape == value.shape
        shares.append(np.abs(got[name] - value).max() / np.ptp(value))
    return max(shares)


def counts(file) -> dict[str, int]:
    """How many operators of each type there are, also within loops."""
    found = {}
    for node in all_nodes(onnx.load(file).graph):
        found[node.op_type] = found.get(node.op_type, 0) + 1
    return found


def float_weights(file) -> list[str]:
    """Constants in float that are multiplied by or looked up in."""
    graph = onnx.load(file).graph
    floats = {
        x.name
        for x in graph.initializer
        if x.data_type == onnx.TensorProto.FLOAT and len(x.dims) > 1
    }
    return [
        name
        for node in all_nodes(graph)
        for name in _weights_of(node)
        if name in floats
    ]


def _weights_of(node) -> list[str]:
    if node.op_type == "Gather":
        return node.input[:1]
    if node.op_type == "Loop":  # It hands them on from step to step.
        return node.input[2:]
    if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return node.input[1:2]
    return node.input[1:3] if node.op_type == "LSTM" else []
