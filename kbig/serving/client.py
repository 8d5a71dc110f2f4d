"""A client of TF Serving, the same over REST and gRPC."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.serving.examples import rows_of
from kbig.serving.grpc_calls import GrpcCalls
from kbig.serving.rest import RestCalls
from kbig.serving.retries import with_retries
from kbig.serving.signatures import SignatureInfo
from kbig.serving.signatures import VersionStatus
from kbig.serving.signatures import as_tensor
from kbig.serving.signatures import read_signatures
from kbig.serving.signatures import read_status
from kbig.serving.target import target_of

_DAY = 86_400
_CALLS = {"http": RestCalls, "https": RestCalls, "grpc": GrpcCalls}
# What takes tf.Examples, and so rows; all other methods take columns.
_BY_ROWS = {
    "tensorflow/serving/classify": "classify",
    "tensorflow/serving/regress": "regress",
}


class Client:
    """Asks a served model.

    Calls over REST have a connection each, those over gRPC share a channel;
    threads may share a client. What a signature takes and gives is asked of
    the server once, and again after a call that failed: another version may be
    served by then.

    Args:
        url: `http://host:8501`, `https://host` or `grpc://host:8500`.
        model: the name that it is served under.
        version: number of one version; the latest by default.
        label: of a version, such as "stable", instead of its number.
        timeout: seconds, a day at most, that the server may be silent before a
            try is given up; over gRPC that a try may take.
        retries: further tries when there is no connection, the server is not
            available, does not answer in time or could not merge the rows with
            those of others, whose lengths differ; a tenth of a second later,
            then twice as much each time, less a random part. Nothing else is
            tried again.

    Raises:
        UsageError: an argument out of its range; over gRPC, TF Serving's
            messages are not installed.

    Example:
    ```python
    with kbig.serving.Client("http://localhost:8501", "topics") as client:
        client.predict(["a tree has leaves"])["label"]
    ```
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
    ):
        if not 0 < timeout <= _DAY or retries < 0:
            raise UsageError(
                "`timeout` must be above 0 s, a day at most, and `retries` not "
                "below 0. "
                f"Received: timeout={timeout}, retries={retries}"
            )
        target = target_of(url, model, version, label)
        self.retries = retries
        self._calls = _CALLS[target.scheme](target, timeout)
        self._signatures = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes what is open; the client is of no use any more."""
        self._calls.close()

    def predict(
        self, inputs, signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Calls a signature with a batch of rows.

        Args:
            inputs: arrays or lists by name, `(rows, ...)`; or one array or
                list for a signature with one input. Texts are `str`, or
                `bytes` that need be no UTF-8. A signature that classifies
                or regresses takes the features of tf.Examples by name, floats
            where the model takes floats.
            signature: its name.

        Returns:
            Arrays by name, `(rows, ...)`; texts as objects. What classifies
            gives `classes` and `scores`, what regresses `outputs`.

        Raises:
            UsageError: the model, the version or the signature is not there,
                or the server refuses the inputs.
            ServingError: no answer, or not one of TF Serving.

        Example:
        ```python
        client.predict({"text": ["a tree"]}, signature="classify")
        ```
        """
        try:
            return self._predicted(inputs, signature)
        except (ServingError, UsageError):
            # What is served may be another version by now.
            self._signatures = None
            raise

    def _predicted(self, inputs, signature: str) -> dict[str, np.ndarray]:
        info = self._signature(signature)
        method = _BY_ROWS.get(info.method)
        if method is None:
            return self._tried("predict", info, _columns(inputs, info))
        return self._tried(method, info, _rows(inputs, info))

    def metadata(self) -> dict[str, SignatureInfo]:
        """Tells what the signatures of the model take and give.

        Returns:
            Signatures by name.

        Raises:
            UsageError: there is no such model or version.
            ServingError: no answer, or not one of TF Serving.
        """
        if self._signatures is None:
            self._signatures = read_signatures(self._tried("metadata"))
        return self._signatures

    def status(self) -> tuple[VersionStatus, ...]:
        """Tells which versions of the model are loaded.

        Returns:
            One status a version that the server knows.

        Raises:
            UsageError: there is no such model or version.
            ServingError: no answer, or not one of TF Serving.
        """
        return read_status(self._tried("status"))

    def _tried(self, name: str, *arguments):
        method = getattr(self._calls, name)
        return with_retries(lambda: method(*arguments), self.retries)

    def _signature(self, name: str) -> SignatureInfo:
        known = self.metadata()
        if name not in known:
            raise UsageError(
                f"The model has the signatures {', '.join(sorted(known))}. "
                f"Received: signature={name!r}"
            )
        return known[name]


def _columns(inputs, info: SignatureInfo) -> dict[str, np.ndarray]:
    if not isinstance(inputs, Mapping):
        if len(info.inputs) != 1:
            raise UsageError(
                f"Signature {info.name!r} has the inputs "
                f"{', '.join(sorted(info.inputs))}, so they go by name. "
                f"Received: a {type(inputs).__name__}."
            )
        inputs = dict.fromkeys(info.inputs, inputs)
    # Over REST the server would answer without a word about them.
    if unknown := {*map(str, inputs)} - {*info.inputs}:
        raise UsageError(
            f"Signature {info.name!r} has the inputs "
            f"{', '.join(sorted(info.inputs))}. Received: "
            f"{', '.join(sorted(unknown))} as well."
        )
    columns = {}
    for name, value in inputs.items():
        try:
            columns[name] = as_tensor(value, info.inputs.get(name))
        except ValueError as error:
            raise UsageError(
                f"Rows of an input have one shape. Received: {name!r} with "
                "rows of different lengths."
            ) from error
        _check_shape(name, columns[name], info.inputs.get(name))
    return columns


def _check_shape(name: str, array: np.ndarray, info) -> None:
    """Some kernels end the server's process at another rank."""
    shape = None if info is None else info.shape
    if shape is None:
        return
    # Without rows JSON has no shape.
    fits = array.ndim == len(shape) and 0 not in array.shape[:1]
    fits = fits and all(
        side in (None, size) for side, size in zip(shape, array.shape)
    )
    if not fits:
        sides = ", ".join("any" if x is None else str(x) for x in shape)
        raise UsageError(
            f"Input {name!r} has the shape ({sides}), rows first, at least "
            f"one. Received: shape={array.shape}"
        )


def _rows(inputs, info: SignatureInfo) -> list[dict]:
    columns = inputs if isinstance(inputs, Mapping) else {}
    lengths = {name: _length(value) for name, value in columns.items()}
    named = all(isinstance(name, str) for name in columns)
    if not named or len({*lengths.values()}) != 1 or None in lengths.values():
        raise UsageError(
            f"Signature {info.name!r} takes features by name, each with a "
            f"value a row. Received: rows={lengths or type(inputs).__name__}."
        )
    return list(rows_of(columns))


def _length(column) -> int | None:
    """Rows of a column; a text is no column of letters."""
    if isinstance(column, np.ndarray):
        return len(column) if column.ndim else None
    is_text = isinstance(column, (str, bytes))
    return len(column) if isinstance(column, Sequence) and not is_text else None
