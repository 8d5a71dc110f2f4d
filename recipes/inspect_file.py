"""Lists what a model's file holds, without running anything of it.

kbig inspect saved_models/topics/topics-dynamic.tflite
kbig inspect saved_models/topics
kbig inspect runs/topics/model.keras --json model.json

Printed are inputs and outputs with their scales, signatures, operations by
dtype, the largest arrays, and files that travel with the model; of a .tflite
file also what XNNPACK takes over. It takes .tflite, .onnx and .keras files,
the folder of a SavedModel or that of its versions. No class is made and no
pickle is read, so that files of unknown origin can be looked at.

It takes half a second, of a SavedModel five.
"""

import dataclasses
from typing import ClassVar

import kbig
from kbig.errors import UsageError
from recipes.config import CommandConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CommandConfig):
    """Options of `kbig inspect`."""

    unnamed: ClassVar[str] = "path"
    needs_tensorflow: ClassVar[bool] = False

    path: str = option("", "file or folder; its name may be left out")
    json: str = option("", "file to save the report in, as JSON")


def run(config: Config) -> None:
    """Reads, prints, and saves when asked."""
    if not config.path:
        raise UsageError("Pass what to inspect: kbig inspect FILE_OR_DIR.")
    report = kbig.inspection.inspect(config.path)
    kbig.reporting.show(*report.tables())
    if config.json:
        report.save(config.json)
