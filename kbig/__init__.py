"""kbig: from data to artefacts that are proved to work, on Keras 3."""

import importlib

__version__ = "0.1.0"

_ROOMS = (
    "baselines",
    "compression",
    "data",
    "errors",
    "evaluation",
    "export",
    "inspection",
    "models",
    "pretrained",
    "reporting",
    "runs",
    "sections",
    "serving",
    "training",
    "tuning",
)


def __getattr__(name: str):
    """Loads a room on first use: `import kbig` itself stays instant."""
    if name in _ROOMS:
        return importlib.import_module(f"kbig.{name}")
    raise AttributeError(f"module 'kbig' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
