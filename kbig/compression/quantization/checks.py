"""What `quantize_aware` is given, checked before anything is done."""

import numbers

import keras
import numpy as np

from kbig.compression.quantization.ranges import Range
from kbig.errors import UsageError

# Rows of the sample that find ranges at a time.
_ROWS = 32


def check_momentum(momentum) -> None:
    """Raises a UsageError unless it is in [0, 1)."""
    if not isinstance(momentum, numbers.Real) or not 0 <= momentum < 1:
        raise UsageError(
            "`momentum` is the share of the old range in the new one, in "
            f"[0, 1). Received: momentum={momentum!r}. Pass 0.99, for example."
        )


def check_steps(name: str, steps) -> None:
    """Raises a UsageError unless it is a whole number of 0 or more."""
    is_whole = isinstance(steps, numbers.Integral)
    if not is_whole or isinstance(steps, bool) or steps < 0:
        raise UsageError(
            f"`{name}` counts steps of training. Received: {name}={steps!r}. "
            "Pass 0 or more."
        )


def check_model(model, is_quantized: bool) -> None:
    """Raises a UsageError unless it is a built model in float."""
    if not isinstance(model, keras.Model) or not model.built:
        raise UsageError(
            "The model must be built before it is quantized. Received: model="
            f"{getattr(model, 'name', model)!r}. Give it an Input, or call it "
            "on a batch."
        )
    if is_quantized:
        raise UsageError(
            "The model is quantized already. Received: model="
            f"{model.name!r}. Train it on, or pass the float model."
        )


def check_ranges(model: keras.Model) -> None:
    """Raises a UsageError where what the sample gave is not finite."""
    for layer in model._flatten_layers():
        if isinstance(layer, Range) and layer.spec.fixed is None:
            bounds = np.stack([np.ravel(x) for x in layer.bounds()], 1)
            faulty = bounds[~np.isfinite(bounds).all(1)]
            if len(faulty):
                raise UsageError(
                    "The model gives numbers that are not finite, so there "
                    f"are no ranges. Received: {faulty[0].tolist()} for "
                    f"{layer.path}. "
                    "Take weights from before training diverged."
                )


def batches(model: keras.Model, sample) -> list:
    """Takes a sample apart into batches.

    Args:
        model: built.
        sample: an array or a structure of arrays, `(rows, ...)`.

    Returns:
        Structures like the sample.

    Raises:
        UsageError: it does not fit the model, has no rows, or nothing can be
            read off it.
    """
    arrays = [np.asarray(x) for x in keras.tree.flatten(sample)]
    _check_shapes(model, arrays)
    rows = {len(x) for x in arrays}
    if len(rows) > 1 or 0 in rows:
        raise UsageError(
            "The sample must have rows, in each of its arrays as many. "
            f"Received: {', '.join(str(len(x)) for x in arrays)} rows. Pass "
            "some 100 of what the model is given."
        )
    _check_values(arrays)
    return [
        _rows(sample, slice(i, i + _ROWS)) for i in range(0, rows.pop(), _ROWS)
    ]


def _rows(sample, which: slice):
    return keras.tree.map_structure(lambda x: np.asarray(x[which]), sample)


def _check_shapes(model, arrays) -> None:
    inputs = getattr(model, "inputs", None)
    expected = [tuple(x.shape) for x in inputs] if inputs else None
    given = [x.shape for x in arrays]
    if (
        not given
        or () in given
        or not (expected is None or _fit(expected, given))
    ):
        raise UsageError(
            f"The sample must be what the model is given: shapes {expected}. "
            f"Received: {given}. Pass rows like those that it is trained on."
        )


def _fit(expected, given) -> bool:
    return len(expected) == len(given) and all(
        len(wanted) == len(shape)
        and all(w in (None, n) for w, n in zip(wanted[1:], shape[1:]))
        for wanted, shape in zip(expected, given)
    )


def _check_values(arrays) -> None:
    floats = [x for x in arrays if np.issubdtype(x.dtype, np.floating)]
    if not all(np.isfinite(x).all() for x in floats):
        raise UsageError(
            "The sample must be finite: ranges are read off it. Received: "
            "NaN or infinity. Leave such rows out."
        )
    if all(x.min() == x.max() for x in arrays):
        raise UsageError(
            "The sample must not be constant: ranges are read off it. "
            f"Received: {arrays[0].flat[0]} throughout. Pass rows of real "
            "data."
        )
