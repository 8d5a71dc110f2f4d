"""What talks to a server of exported models: TF Serving's REST and gRPC."""

from kbig.serving.answers import answer_rows
from kbig.serving.client import Client
from kbig.serving.signatures import SignatureInfo
from kbig.serving.signatures import TensorInfo
from kbig.serving.signatures import VersionStatus

__all__ = [
    "Client",
    "SignatureInfo",
    "TensorInfo",
    "VersionStatus",
    "answer_rows",
]
