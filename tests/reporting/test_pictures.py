import base64
import io
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from kbig.errors import UsageError
from kbig.reporting.pictures import images
from tests.reporting.drawing import NAMESPACE
from tests.reporting.drawing import texts

PREFIX = "data:image/png;base64,"


def elements(drawing: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(drawing).iter(f"{NAMESPACE}image"))


def decoded(element: ElementTree.Element) -> np.ndarray:
    assert element.get("href").startswith(PREFIX)
    png = base64.b64decode(element.get("href").removeprefix(PREFIX))
    return np.asarray(PIL.Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_every_pixel_survives(channels):
    pixels = np.random.default_rng(0).integers(
        0, 256, (2, 5, 7, *channels), "uint8"
    )
    drawn = elements(images(pixels, ["a", "b"], "Noise"))
    expected = pixels[..., 0] if channels == (1,) else pixels
    for element, image in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(decoded(element), image)


def test_images_stand_in_rows_without_overlap_inside_the_drawing():
    drawing = images(np.zeros((5, 4, 8), "uint8"), ["x"] * 5, "", columns=3)
    boxes = [
        tuple(float(element.get(key)) for key in ("x", "y", "width", "height"))
        for element in elements(drawing)
    ]
    assert [box[0] for box in boxes[:2]] == [box[0] for box in boxes[3:]]
    assert boxes[0][0] + boxes[0][2] < boxes[1][0]
    assert boxes[0][1] + boxes[0][3] < boxes[3][1]
    assert boxes[0][2] == 2 * boxes[0][3]
    viewbox = ElementTree.fromstring(drawing).get("viewBox").split()
    assert float(viewbox[2]) == pytest.approx(boxes[2][0] + boxes[2][2])
    assert float(viewbox[3]) > boxes[4][1] + boxes[4][3]


def test_captions_are_escaped_and_may_have_several_lines():
    captions = ['<b> & "q"\n98 %', "half \ud83d\x00"]
    drawing = images(np.zeros((2, 3, 3), "uint8"), captions, "<t>")
    assert texts(drawing) == ['<b> & "q"', "98 %", "half"]


@pytest.mark.parametrize(
    "pixels, captions, message",
    [
        (np.zeros((1, 3, 3)), ["a"], "dtype float64"),
        (np.zeros((3, 3), "uint8"), ["a"] * 3, r"shape \(3, 3\)"),
        (np.zeros((1, 3, 3, 2), "uint8"), ["a"], r"shape \(1, 3, 3, 2\)"),
        (np.zeros((0, 3, 3), "uint8"), [], "at least one image"),
        (np.zeros((2, 3, 3), "uint8"), ["a"], r"len\(captions\)=1"),
    ],
)
def test_what_is_no_image_is_refused(pixels, captions, message):
    with pytest.raises(UsageError, match=message):
        images(pixels, captions, "Broken")
