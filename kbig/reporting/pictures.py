"""Images of a data set, with captions, as one SVG element."""

import base64
import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
import PIL.Image

from kbig.errors import UsageError
from kbig.reporting import svg
from kbig.reporting.cells import one_line
from kbig.reporting.series import check_length

_GAP = 12
_LINE = 17


def images(
    pixels: np.ndarray,
    captions: Sequence[str],
    title: str,
    *,
    columns: int = 6,
) -> str:
    """Draws a grid of images, each with a caption below.

    Args:
        pixels: (n, height, width), (n, height, width, 1), 3 or 4: uint8
            images in grey, RGB or RGBA.
        captions: the text below each image; a line break begins a new line.
        title: what the images show.
        columns: how many images stand side by side.

    Returns:
        An `<svg>` element with the images inside as PNG.

    Raises:
        UsageError: if `pixels` has another shape or type, there are no
            images, or not as many captions.

    Example:
        ```python
        images(np.zeros((2, 28, 28), "uint8"), ["night", "crow"], "Black")
        ```
    """
    pixels = _checked(pixels)
    check_length("captions", captions, "pixels", pixels)
    columns = min(columns, len(pixels))
    side = min((svg.WIDTH + _GAP) / columns - _GAP, 120)
    height = side * pixels.shape[1] / pixels.shape[2]
    lines = [list(map(one_line, str(text).split("\n"))) for text in captions]
    step = height + _GAP + max(map(len, lines)) * _LINE
    body = "".join(
        _picture(
            image,
            text,
            x=index % columns * (side + _GAP),
            y=index // columns * step,
            width=side,
            height=height,
        )
        for index, (image, text) in enumerate(zip(pixels, lines))
    )
    rows = -(-len(pixels) // columns)
    return svg.finish(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 '
        f'{columns * (side + _GAP) - _GAP:g} {rows * step:g}">{body}</svg>',
        title,
    )


def _checked(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    shape = pixels.shape
    if len(shape) == 4 and shape[-1] == 1:
        pixels = pixels[..., 0]
    colored = len(shape) == 4 and shape[-1] in (1, 3, 4)
    if pixels.dtype != np.uint8 or not (len(shape) == 3 or colored):
        raise UsageError(
            "Images must be uint8 of shape (n, height, width) or (n, height, "
            f"width, 1, 3 or 4). Received: pixels of shape {shape}, dtype "
            f"{pixels.dtype}. Scale them to 0...255 and cast them to uint8."
        )
    if not pixels.size:
        raise UsageError(
            "There must be at least one image with at least one pixel. "
            f"Received: pixels of shape {shape}. Leave the figure out."
        )
    return pixels


def _picture(
    image: np.ndarray,
    lines: Sequence[str],
    *,
    x: float,
    y: float,
    width: float,
    height: float,
) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    captions = "".join(
        f'<text x="{x + width / 2:g}" y="{y + height + _LINE * (row + 0.9):g}"'
        ' style="font-size: 11.5px; font-family: sans-serif; '
        f'text-anchor: middle; fill: {svg.INK}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )
    return (
        f'<image x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'style="image-rendering: pixelated" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{data}"/>{captions}'
    )
