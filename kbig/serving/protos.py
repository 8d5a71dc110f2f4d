"""TF Serving's own messages, where they are installed."""

import importlib
import importlib.util

from kbig.errors import UsageError

PACKAGE = "tensorflow-serving-api"
REMEDY = "pip install 'kbig[serving]'"


def has_protos() -> bool:
    """Tells whether TF Serving's messages can be loaded."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def proto(name: str):
    """Loads one module of `tensorflow_serving.apis`; TensorFlow with it.

    Args:
        name: of the module, for example `predict_pb2`.

    Returns:
        The module.

    Raises:
        UsageError: the package is not installed.

    Example:
    ```python
    request = proto("predict_pb2").PredictRequest()
    ```
    """
    if not has_protos():
        raise UsageError(
            "gRPC needs TF Serving's messages, and they are not installed. "
            f"Received: no package {PACKAGE}. Use an http:// address, or "
            f"{REMEDY}."
        )
    return importlib.import_module(f"tensorflow_serving.apis.{name}")
