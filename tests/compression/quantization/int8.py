"""An int8 file of a model, as its user would get it, without the waiting."""

import pathlib

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kbig.export import convert_litert
from kbig.export import integers
from kbig.export.litert import fixed
from kbig.export.samples import named_samples
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import call_by_name
from kbig.export.signatures import model_signatures


def int8_file(model, x, folder: pathlib.Path) -> pathlib.Path:
    """Converts in this process: a test need not survive a crash."""
    samples = named_samples(model, x)
    with model.as_integers():
        (signature,) = model_signatures(model)
        signature = fixed(signature, samples)
        write_saved_model([signature], folder / "saved_model")
    file = folder / "model.tflite"
    file.write_bytes(
        convert_litert.convert(str(folder / "saved_model"), "int8")
    )
    integers.check_integers(file, model.quantization.plan.float_outputs)
    return file


def run(file: pathlib.Path, model, x) -> np.ndarray:
    """The first output of every row."""
    samples = named_samples(model, x)
    runner = Interpreter(str(file), num_threads=1).get_signature_runner()
    dtypes = {k: v["dtype"] for k, v in runner.get_input_details().items()}
    rows = len(next(iter(samples.values())))
    outputs = []
    for i in range(rows):
        feeds = {k: v[i : i + 1].astype(dtypes[k]) for k, v in samples.items()}
        outputs.append(next(iter(runner(**feeds).values())))
    return np.concatenate(outputs)


def output_step(file: pathlib.Path) -> float:
    """The distance of neighbours in what a file gives."""
    interpreter = Interpreter(str(file))
    details = {x["index"]: x for x in interpreter.get_tensor_details()}
    (index,) = (x["index"] for x in interpreter.get_output_details())
    last = [
        op
        for op in interpreter._get_ops_details()
        if index in op["outputs"] and op["op_name"] == "DEQUANTIZE"
    ]
    if not last:  # An island: as if it were rounded.
        return 0.0
    return details[last[0]["inputs"][0]]["quantization"][0]


def check_equal(
    model, x, folder, steps=3, agreement=0.99, least=0.1, outliers=0.0
):
    """An int8 file gives what the model gives, but for a few steps.

    It must not be equal for want of anything to tell: the model has to use
    a good part of the range of its outputs. A share of outliers may differ by
    four times the steps: a tie that rounds the other way grows in a loop.
    """
    file = int8_file(model, x, folder)
    got = run(file, model, x)
    (expected,) = call_by_name(model, named_samples(model, x)).values()
    expected = np.asarray(expected)
    step = output_step(file)
    assert got.shape == expected.shape
    assert np.ptp(expected) > least * 255 * step
    step = step or np.ptp(expected) / 255
    differences = np.abs(got - expected) / step
    assert differences.max() <= (4 if outliers else 1) * steps + 0.01
    assert (differences > steps + 0.01).mean() <= outliers
    if expected.ndim == 2 and expected.shape[-1] > 1:
        same = got.argmax(-1) == expected.argmax(-1)
        # One of few rows may be a tie.
        assert same.mean() >= agreement or (~same).sum() <= 1
    return file
