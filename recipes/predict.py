"""Asks a served model, over TF Serving's REST or gRPC.

kbig predict --url http://localhost:8501 --model topics --text "a tall tree"

Prints a table, or JSON with --output json. What is asked is a --text, each
a row; or --image, files that are resized to what the model takes; or --json,
a file with rows by the name of the input: {"text": ["a tall tree"]}.

Exit status: 1 when the server gives no answer, 2 when it refuses.
"""

import dataclasses
import json
import pathlib
import re

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes.config import CommandConfig
from recipes.config import option

# Those that JSON need not escape; to a terminal some begin a command.
_CONTROLS = re.compile("[\x7f-\x9f]")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CommandConfig):
    """Options of `kbig predict`."""

    url: str = option("http://localhost:8501", "http, https or grpc address")
    model: str = option("", "name that it is served under")
    version: int = option(0, "its version; 0 is the latest", minimum=0)
    label: str = option("", "of a version instead, such as stable")
    text: tuple[str, ...] = option((), "a row", repeated=True)
    image: tuple[str, ...] = option((), "a file, a row", repeated=True)
    json: str = option("", "file of rows by the name of the input")
    signature: str = option("serving_default", "what to call")
    timeout: float = option(10.0, "seconds for a try")
    retries: int = option(
        2, "further tries without connection or answer", minimum=0
    )
    output: str = option("table", "what to print", ("table", "json"))

    @property
    def needs_tensorflow(self) -> bool:
        """Whether its messages are needed: REST does without."""
        return self.url.startswith("grpc:")


def run(config: Config) -> dict:
    """Asks, and prints the answer."""
    given = [key for key in _INPUTS if getattr(config, key)]
    if not config.model or len(given) != 1:
        raise UsageError(
            "Pass --model NAME, and --text, --image or --json, one of them. "
            f"Received: --model {config.model!r} and {given or 'none'}."
        )
    with kbig.serving.Client(
        config.url,
        config.model,
        version=config.version or None,
        label=config.label or None,
        timeout=config.timeout,
        retries=config.retries,
    ) as client:
        inputs = _INPUTS[given[0]](config, client)
        outputs = client.predict(inputs, config.signature)
    _show(config, outputs)
    return outputs


def _show(config: Config, outputs) -> None:
    if config.output == "json":
        answer = kbig.reporting.report.plain({"outputs": outputs})
        print(_CONTROLS.sub(_escaped, json.dumps(answer, ensure_ascii=False)))
        return
    outputs = {name: np.atleast_1d(value) for name, value in outputs.items()}
    rows = max(map(len, outputs.values()))
    names = config.text or config.image or range(rows)
    # What the command line could not decode is no text for a terminal.
    names = [
        str(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name in names
    ]
    columns, cells = kbig.serving.answer_rows(outputs, names)
    title = f"{config.model}: {config.signature}"
    kbig.reporting.show(kbig.reporting.Table(title, columns, cells))


def _escaped(found: re.Match) -> str:
    return f"\\u{ord(found.group()):04x}"


def _texts(config: Config, client):
    # Those that classify or regress have features of names of their own.
    signatures = client.metadata()
    served = signatures.get(config.signature)
    takes = set(served.inputs) if served else set()
    if len(takes) == 1 and served.method.endswith("/predict"):
        return list(config.text)
    return {"text": list(config.text)}


def _images(config: Config, client):
    """Arrays for the one input of `serving_default`, by its name."""
    served = client.metadata().get("serving_default")
    inputs = served.inputs if served else {}
    shapes = {name: info.shape or () for name, info in inputs.items()}
    name, shape = next(iter(shapes.items()), ("", ()))
    if len(shapes) != 1 or len(shape) != 4 or shape[3] not in _MODES:
        raise UsageError(
            "An image is for a model whose only input is (batch, height, "
            f"width, 1, 3 or 4). Received: --image, and inputs {shapes}. "
            "Pass --text or --json."
        )
    # tf.Examples hold floats, or whole numbers of 64 bits.
    dtype = "uint8" if inputs[name].dtype == "uint8" else "float32"
    images = [_image(file, *shape[1:]) for file in config.image]
    return {name: [image.astype(dtype) for image in images]}


def _image(file: str, height, width, channels):
    """Values from 0 to 255, as kbig's own loaders have them."""
    import PIL.Image

    try:
        with PIL.Image.open(file) as image:
            if image.mode.startswith("I"):
                # Of 16 bits the upper 8: Pillow would cut off what is above.
                upper = np.asarray(image).astype("int64") >> 8
                image = PIL.Image.fromarray(upper.clip(0, 255).astype("uint8"))
            image = image.convert(_MODES[channels])
            size = (width or image.width, height or image.height)
            if size != image.size:
                image = image.resize(size, PIL.Image.Resampling.BILINEAR)
            values = np.asarray(image)
    except (
        OSError,
        SyntaxError,
        ValueError,
        PIL.Image.DecompressionBombError,
    ) as error:
        raise UsageError(f"Cannot read --image {file}: {error}") from error
    return values.reshape(*values.shape[:2], channels)


def _rows(config: Config, client):
    try:
        text = pathlib.Path(config.json).read_text("utf-8")
        rows = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"Cannot read --json {config.json}: {error}"
        ) from error
    if not isinstance(rows, (dict, list)):
        raise UsageError(
            f"--json {config.json} must hold rows, or rows by the name of "
            f"the input. Received: {str(rows)[:80]!r}"
        )
    return rows


# What can be asked is one line here.
_INPUTS = {"text": _texts, "image": _images, "json": _rows}
