"""What a served model says of itself: signatures, and versions."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kbig.errors import ServingError
from kbig.serving.examples import array_of

# TensorFlow's names -> NumPy's; strings are objects, `str` or `bytes`.
_DTYPES = {
    "DT_HALF": "float16",
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "object",
}


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output.

    Args:
        dtype: of NumPy, "object" for strings; None for one that NumPy lacks.
        shape: None stands for a size that varies; None for any rank.
    """

    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class SignatureInfo:
    """One way to call a served model.

    Args:
        name: of the signature.
        method: the call of TF Serving that it answers, such as
            `tensorflow/serving/predict`.
        inputs: what it takes, by name.
        outputs: what it gives, by name.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """How one version of a model is.

    Args:
        version: its number.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error: what went wrong, "" when nothing did.
    """

    version: int
    state: str
    error: str


def read_signatures(metadata: Mapping) -> dict[str, SignatureInfo]:
    """Reads a `SignatureDefMap`, as JSON has it.

    Args:
        metadata: `{"signature_def": {name: {"inputs": ..., ...}}}`.

    Returns:
        Signatures by name.

    Raises:
        ServingError: it is something else.
    """
    try:
        return {
            name: SignatureInfo(
                name,
                signature.get("method_name", ""),
                _tensors(signature.get("inputs", {})),
                _tensors(signature.get("outputs", {})),
            )
            for name, signature in metadata["signature_def"].items()
            # The initializer of tables is in the list as well.
            if not name.startswith("__")
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServingError(
            "The server's metadata hold no signatures. Received: "
            f"{str(metadata)[:200]}"
        ) from error


def read_status(status: Mapping) -> tuple[VersionStatus, ...]:
    """Reads a `GetModelStatusResponse`, as JSON has it.

    Args:
        status: `{"model_version_status": [{"version": "1", ...}]}`.

    Returns:
        One status a version.

    Raises:
        ServingError: it is something else.
    """
    try:
        return tuple(
            VersionStatus(
                int(entry["version"]),
                entry["state"],
                entry.get("status", {}).get("error_message", ""),
            )
            for entry in status["model_version_status"]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServingError(
            "The server's status has no versions. Received: "
            f"{str(status)[:200]}"
        ) from error


def _tensors(tensors: Mapping) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(_DTYPES.get(info["dtype"]), _shape(info))
        for name, info in tensors.items()
    }


def _shape(info: Mapping) -> tuple[int | None, ...] | None:
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return None
    # JSON has 64-bit integers as texts, and leaves zeros out.
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]
    return tuple(None if size < 0 else size for size in sizes)


def as_tensor(value, info: TensorInfo | None) -> np.ndarray:
    """Makes an array of the dtype that a signature takes, where that is safe.

    Args:
        value: an array, or nested lists.
        info: what the signature takes; None where it takes no such input.

    Returns:
        An array. What cannot be converted but for rounding stays what it is:
        the server then says what is wrong with it.

    Raises:
        ValueError: rows of different lengths.

    Example:
    ```python
    as_tensor([[0, 255]], TensorInfo("float32", (None, 2))).dtype  # float32
    ```
    """
    array = array_of(value)
    if array.dtype.kind == "O" or info is None:
        return array
    if info.dtype in (None, "object"):
        return array
    wanted = np.dtype(info.dtype)
    return array.astype(wanted) if _is_safe(array, wanted) else array


def _is_safe(array: np.ndarray, wanted: np.dtype) -> bool:
    if not array.size or array.dtype.kind == wanted.kind == "b":
        return True
    if wanted.kind == "f":
        return array.dtype.kind in "iuf" and _stays_finite(array, wanted)
    if wanted.kind not in "iu" or array.dtype.kind not in "iu":
        return False
    limits = np.iinfo(wanted)
    return limits.min <= array.min() and array.max() <= limits.max


def _stays_finite(array: np.ndarray, wanted: np.dtype) -> bool:
    with np.errstate(over="ignore"):
        converted = array.astype(wanted)
    return bool((np.isfinite(converted) == np.isfinite(array)).all())
