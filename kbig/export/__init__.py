"""Artefacts that are run and compared before they get their final name."""

from kbig.export.artefacts import artefacts
from kbig.export.artefacts import saved_model
from kbig.export.files import litert
from kbig.export.files import onnx
from kbig.export.formats import FORMATS
from kbig.export.formats import LITERT_MODES
from kbig.export.formats import ONNX_MODES
from kbig.export.hugging_face import HuggingFaceReport
from kbig.export.hugging_face import hugging_face
from kbig.export.integer_report import IntegerReport
from kbig.export.latencies import LatenciesReport
from kbig.export.latencies import latencies
from kbig.export.latency import LatencyReport
from kbig.export.latency import latency_ratio
from kbig.export.litert_flops import litert_flops
from kbig.export.report import ArtefactReport
from kbig.export.report import VerifyReport
from kbig.export.signatures import Signature
from kbig.export.signatures import model_signatures
from kbig.export.twin import float32_twin
from kbig.export.verify import verify
from kbig.inspection import InspectionReport
from kbig.inspection import inspect

__all__ = [
    "FORMATS",
    "LITERT_MODES",
    "ONNX_MODES",
    "ArtefactReport",
    "HuggingFaceReport",
    "InspectionReport",
    "IntegerReport",
    "LatenciesReport",
    "LatencyReport",
    "Signature",
    "VerifyReport",
    "artefacts",
    "float32_twin",
    "hugging_face",
    "inspect",
    "latencies",
    "latency_ratio",
    "litert",
    "litert_flops",
    "model_signatures",
    "onnx",
    "saved_model",
    "verify",
]
