"""Looks into an int8 file: what it computes, and how far it is off."""

import dataclasses
import pathlib
import re
import zlib

import keras
import numpy as np

from kbig.errors import GateError
from kbig.export import processes
from kbig.export.integer_report import IntegerReport
from kbig.export.integer_report import LayerError
from kbig.export.integer_report import OutputSteps
from kbig.export.latency import LatencyReport
from kbig.export.latency import latency_ratio
from kbig.export.litert import write_reference
from kbig.export.runtime import KerasReference
from kbig.inspection.worker import described
from kbig.writing import scratch

_WORKER = pathlib.Path(__file__).with_name("integer_worker.py")
# Enough for means, and quick without XNNPACK.
_ROWS = 32


def integer_report(
    model: keras.Model,
    file: pathlib.Path,
    samples: dict[str, np.ndarray],
    latency: bool = False,
) -> IntegerReport:
    """Compares an int8 file with its model, and each layer without rounding.

    Args:
        model: that was exported, in float32.
        file: what `kbig.export.litert` wrote in mode `int8`.
        samples: arrays by input name; the first rows of them are run.
        latency: also measure latencies, beside a float32 and a dynamic int8
            file of the same model.

    Returns:
        A report, which prints as tables.
    """
    rows = {name: x[:_ROWS] for name, x in samples.items()}
    answer, references, latencies, failure = {}, [], {}, ""
    with scratch() as folder:
        # The file is what it is, even with nothing to compare it with.
        try:
            expected = KerasReference(model, rows).outputs()
            arrays = _written(folder / "rows.npz", rows, expected)
            answer |= _answer(file, None, arrays)
            modes = ("float32", "dynamic") if latency else ("float32",)
            references = write_reference(model, folder, rows, modes)
            answer |= _answer(file, references[0], arrays)
            if latency:
                latencies = _latencies(file, references)
        except GateError as error:
            failure = str(error)
        sizes = [_sizes(x) for x in references[:1]] or [(None, None)]
    found = answer.get("tensors", [])
    layers = {x.name for x in model._flatten_layers(include_self=False)}
    return IntegerReport(
        operations=described("litert", file).operations,
        outputs=tuple(_output(*x) for x in answer.get("outputs", {}).items()),
        layers=worst_by_layer(found, layers),
        compared=len(found),
        int8_tensors=answer.get("int8_tensors", 0),
        rows=len(next(iter(rows.values()))),
        bytes=_sizes(file)[0],
        gzip_bytes=_sizes(file)[1],
        reference_bytes=sizes[0][0],
        reference_gzip_bytes=sizes[0][1],
        latencies=latencies,
        failure=failure,
    )


def worst_by_layer(found, layers: set[str]) -> tuple[LayerError, ...]:
    """Picks each layer's tensor with the largest error.

    Args:
        found: a dict for each tensor, as `integer_worker` gives them.
        layers: names of all layers, those within others too.

    Returns:
        One error a layer, the largest first.

    Example:
    ```python
    found = {"tensor": "m/dense_1/MatMul", "step": 0.5, "largest": 1.0,
             "mean": 0.25, "relative": 0.01}
    worst_by_layer([found], {"dense"})  # "dense": 2 steps, 0.5 in the mean
    ```
    """
    worst = {}
    for x in sorted(found, key=lambda x: -x["relative"]):
        layer = layer_of(x["tensor"], layers)
        step = x["step"]
        error = LayerError(
            layer,
            x["tensor"],
            x["relative"],
            step,
            x["largest"] / step,
            x["mean"] / step,
        )
        worst.setdefault(layer, error)
    return tuple(worst.values())


def layer_of(tensor: str, layers: set[str]) -> str:
    """Finds the layers in the name of a tensor.

    Args:
        tensor: as "cnn_1/stem_1/convolution"; TensorFlow numbers a layer that
            it has traced before.
        layers: names of all layers.

    Returns:
        Those that lead to it, joined with "/"; the name itself without any.
    """
    found = []
    for part in tensor.split("/")[:-1]:
        plain = re.sub(r"_\d+$", "", part)
        if part in layers and plain not in layers:
            found.append(part)
        elif plain in layers:
            found.append(plain)
    return "/".join(found) or tensor


def _written(file, rows, expected) -> pathlib.Path:
    np.savez(file, **rows, **{f"expected/{k}": x for k, x in expected.items()})
    return file


def _answer(file, reference, arrays) -> dict:
    request = {
        "int8": str(file.resolve()),
        "float32": str(reference) if reference else None,
        "rows": str(arrays),
    }
    return processes.answer(_WORKER, request, file.name, "compared", "samples")


def _latencies(file, references) -> dict[str, LatencyReport]:
    found = {}
    for name, reference in zip(("float32", "dynamic int8"), references):
        report = latency_ratio(file, reference)
        # The files beside it are gone when somebody reads this.
        found[name] = dataclasses.replace(report, path="int8", reference=name)
    return found


def _output(name: str, found: dict) -> OutputSteps:
    step = found["step"]
    unit = step or 1.0
    return OutputSteps(
        name, step, found["largest"] / unit, found["mean"] / unit
    )


def _sizes(file: pathlib.Path) -> tuple[int, int]:
    content = file.read_bytes()
    return len(content), len(zlib.compress(content))
