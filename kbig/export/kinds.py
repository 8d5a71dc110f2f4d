"""The table of kinds of artefacts: what each is, and how it is told."""

import dataclasses
import pathlib
from collections.abc import Callable

from kbig.errors import UsageError
from kbig.export import litert_file
from kbig.export import onnx_file
from kbig.export.compare import OF_INTEGERS
from kbig.export.integers import integer_dtype


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of artefact.

    Args:
        name: as reports have it.
        weights: from the content of a file to what its weights are stored
            as, a key of `kbig.export.compare.TOLERANCES`.
    """

    name: str
    weights: Callable[[bytes], str]


def _litert_weights(content: bytes) -> str:
    computed = OF_INTEGERS.get(integer_dtype(content))
    return computed or litert_file.weights_dtype(content)


_SAVED_MODEL = Kind("SavedModel", lambda content: "float32")
_FILES = {
    ".tflite": Kind("LiteRT", _litert_weights),
    ".onnx": Kind("ONNX", onnx_file.weights_dtype),
}


def kind_of(path: pathlib.Path) -> Kind:
    """Tells what an artefact is.

    Args:
        path: of a folder or a file.

    Returns:
        Its kind.

    Raises:
        UsageError: it is none, or is not there.
    """
    if (path / "saved_model.pb").is_file():
        return _SAVED_MODEL
    if path.is_file() and path.suffix in _FILES:
        return _FILES[path.suffix]
    raise UsageError(
        "An artefact is a folder with saved_model.pb or a file that ends in "
        f"{' or '.join(_FILES)}. Received: {str(path)!r}."
    )


def short_name(path: pathlib.Path, kind: str) -> str:
    """The last part of the path, `saved_model` for a version.

    Args:
        path: of an artefact, which need not be there any more.
        kind: the name of its kind.
    """
    return "saved_model" if kind == _SAVED_MODEL.name else path.name


def weights_of(path: pathlib.Path) -> str:
    """Tells what the weights of an artefact are stored as.

    Args:
        path: of a folder or a file.

    Returns:
        A key of `kbig.export.compare.TOLERANCES`.
    """
    content = path.read_bytes() if path.is_file() else b""
    return kind_of(path).weights(content)
