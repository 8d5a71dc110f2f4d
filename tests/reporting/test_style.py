import pathlib
import re

import pytest

import kbig.reporting
from kbig.reporting import svg
from tests.reporting.colors import BLINDNESS
from tests.reporting.colors import contrast
from tests.reporting.colors import least_difference

STYLE = (pathlib.Path(kbig.reporting.__file__).parent / "style.css").read_text(
    encoding="utf-8"
)
LIGHT, DARK, PRINT = (
    dict(re.findall(r"--([\w-]+): (#\w+);", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)
THEMES = {"light": LIGHT, "dark": DARK, "print": PRINT}


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["page", "panel"])
@pytest.mark.parametrize("ink", ["text", "muted"])
def test_text_is_readable(theme, ground, ink):
    assert contrast(THEMES[theme][ink], THEMES[theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["accent", "right", "wrong"])
def test_colored_text_is_readable(theme, ink):
    assert contrast(THEMES[theme][ink], THEMES[theme]["page"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("color", svg.PALETTE)
def test_lines_stand_out_from_the_page(theme, color):
    assert contrast(color, THEMES[theme]["page"]) >= 3


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_lines_are_told_apart_without_all_colors(blindness):
    assert least_difference(svg.PALETTE, blindness) >= 20


def test_the_style_loads_nothing():
    assert "url(" not in STYLE
    assert "@import" not in STYLE
