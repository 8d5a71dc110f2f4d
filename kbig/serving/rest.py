"""TF Serving's REST."""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.serving.examples import as_bytes
from kbig.serving.examples import flat_feature
from kbig.serving.retries import PassingError
from kbig.serving.retries import unmerged
from kbig.serving.signatures import SignatureInfo
from kbig.serving.target import Target

_CONNECTIONS = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}
# Overload, unavailable, and what a server makes of a deadline that has passed.
_PASSING = (429, 503, 504)


class RestCalls:
    """One request a call, each over a connection of its own.

    It goes straight to the server: proxies of the environment are not used.

    Args:
        target: the model.
        timeout: seconds for which the server may be silent.
    """

    def __init__(self, target: Target, timeout: float):
        self._target = target
        self._timeout = timeout

    def close(self) -> None:
        """Nothing stays open."""

    def status(self) -> Mapping:
        """How the versions of the model are, as JSON."""
        return self._request("GET", "")

    def metadata(self) -> Mapping:
        """A `SignatureDefMap`, as JSON."""
        answer = self._request("GET", "/metadata")
        return _part(_part(answer, "metadata"), "signature_def")

    def predict(
        self, signature: SignatureInfo, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Calls Predict with columns."""
        columns = {name: _jsonable(array) for name, array in inputs.items()}
        body = {"signature_name": signature.name, "inputs": columns}
        outputs = _part(self._request("POST", ":predict", body), "outputs")
        # Of a single output the server leaves the name out.
        if len(signature.outputs) == 1:
            outputs = dict.fromkeys(signature.outputs, outputs)
        if not isinstance(outputs, Mapping):
            raise _useless(self._target, outputs)
        return {
            name: self._array(value, signature.outputs.get(name))
            for name, value in outputs.items()
        }

    def classify(
        self, signature: SignatureInfo, examples: Sequence[Mapping]
    ) -> dict[str, np.ndarray]:
        """Calls Classify with rows."""
        rows = self._results("classify", signature, examples)
        try:
            classes = [[label for label, _ in row] for row in rows]
            scores = [[score for _, score in row] for row in rows]
            return {
                "classes": np.array(classes, dtype=object),
                "scores": np.array(scores, dtype="float32"),
            }
        except (TypeError, ValueError) as error:
            raise _useless(self._target, rows) from error

    def regress(
        self, signature: SignatureInfo, examples: Sequence[Mapping]
    ) -> dict[str, np.ndarray]:
        """Calls Regress with rows."""
        values = self._results("regress", signature, examples)
        try:
            return {"outputs": np.array(values, dtype="float32")}
        except (TypeError, ValueError) as error:
            raise _useless(self._target, values) from error

    def _results(self, verb, signature, examples):
        body = {
            "signature_name": signature.name,
            "examples": [
                {
                    name: _jsonable(flat_feature(value))
                    for name, value in row.items()
                }
                for row in examples
            ],
        }
        answer = self._request("POST", f":{verb}", body)
        # The documentation has `result`, the server's code `results`.
        return _part(answer, "results" if "results" in answer else "result")

    def _array(self, value, info) -> np.ndarray:
        dtype = None if info is None else info.dtype
        try:
            return np.array(_decoded(value), dtype=dtype)
        except (KeyError, TypeError, ValueError) as error:
            raise _useless(self._target, value) from error

    def _request(self, verb: str, path: str, body=None) -> Mapping:
        content = None if body is None else json.dumps(body).encode()
        status, answer = self._exchange(
            verb, self._target.resource + path, content
        )
        if status == 200:
            return _object(self._target, answer)
        message = _message(answer) or f"status {status}"
        if status in _PASSING:
            raise PassingError(
                f"The server of {self._target} is not available: {message}"
            )
        if 400 <= status < 500:
            raise unmerged(self._target, message) or UsageError(
                f"Request for {self._target} was refused: {message}"
            )
        raise ServingError(
            f"The server of {self._target} failed (status {status}): {message}"
        )

    def _exchange(self, verb, path, content) -> tuple[int, bytes]:
        target = self._target
        connection = _CONNECTIONS[target.scheme](
            target.host, target.port, timeout=self._timeout
        )
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            connection.request(verb, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except ssl.SSLCertVerificationError as error:
            raise ServingError(
                f"The certificate of {target} does not hold: {error}."
            ) from error
        except TimeoutError as error:
            raise PassingError(
                f"No answer within {self._timeout:g} s from {target}."
            ) from error
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise PassingError(
                f"Cannot reach {target}: {error or type(error).__name__}."
            ) from error
        finally:
            connection.close()


def _object(target: Target, content: bytes) -> Mapping:
    try:
        answer = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, Mapping):
        raise _useless(target, content.decode("utf-8", "replace"))
    return answer


def _message(content: bytes) -> str:
    """What the server says went wrong; of a gateway the page that it sends."""
    text = content.decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


def _part(answer, key: str):
    if not isinstance(answer, Mapping) or key not in answer:
        raise ServingError(
            f"The answer lacks {key!r}, which TF Serving's have. Received: "
            f"{str(answer)[:200]}. Pass the address of a TF Serving's REST."
        )
    return answer[key]


def _useless(target: Target, answer) -> ServingError:
    return ServingError(
        f"The answer of {target} is not what TF Serving gives. Received: "
        f"{str(answer)[:200]!r}. Pass the address of a TF Serving's REST."
    )


def _jsonable(value):
    """Lists of numbers and texts; bytes in base64, as TF Serving has them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return _jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, str):
        try:
            value.encode()
            return value
        except UnicodeEncodeError:
            return _jsonable(as_bytes(value))
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if value is not None and not isinstance(value, (int, float)):
        raise UsageError(
            f"A value is a text, bytes or a number. Received: {value!r:.80}"
        )
    return value


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, Mapping):
        return base64.b64decode(value["b64"]).decode("utf-8", "replace")
    return value
