import re
from xml.etree import ElementTree

import matplotlib
import pytest

from kbig.reporting import svg

NAMESPACE = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def rising(axes):
    axes.plot([1, 2, 3], marker="o", color=svg.PALETTE[1])
    axes.set_xlabel('id="patch_1" #010203 $a$ <b> & 日本')


def test_the_same_drawing_gives_the_same_bytes():
    assert svg.draw(rising, "Rising") == svg.draw(rising, "Rising")


def test_ids_are_unique_to_the_drawing_and_every_reference_resolves():
    ids = []
    for title in ("One", "Two"):
        root = ElementTree.fromstring(svg.draw(rising, title))
        own = [e.get("id") for e in root.iter() if e.get("id")]
        clips = [e.get("clip-path") for e in root.iter()]
        references = [e.get(HREF) for e in root.iter()] + [
            clip and clip.removeprefix("url(").removesuffix(")")
            for clip in clips
        ]
        assert {f"#{name}" for name in own} == set(filter(None, references))
        ids += own
    assert len(ids) == len(set(ids)) >= 4


def test_ink_is_the_color_of_the_page_and_texts_are_untouched():
    drawing = svg.draw(rising, "Rising")
    root = ElementTree.fromstring(drawing)
    styles = [e.get("style") for e in root.iter() if e.get("style")]
    assert not any(svg.INK in style for style in styles)
    colors = set(re.findall(r"#[0-9a-f]{3,6}", " ".join(styles)))
    assert colors == {svg.PALETTE[1]}
    texts = list(root.iter(f"{NAMESPACE}text"))
    assert all("fill: currentColor" in e.get("style") for e in texts)
    assert all("system-ui" in e.get("style") for e in texts)
    assert 'id="patch_1" #010203 $a$ <b> & 日本' in [e.text for e in texts]


def test_the_drawing_has_a_name_and_no_fixed_size():
    title = 'Loss <of> "both" & 日本'
    root = ElementTree.fromstring(svg.draw(rising, title, 400, 200))
    assert root.get("role") == "img"
    assert root.get("aria-label") == root[0].text == title
    assert root[0].tag == f"{NAMESPACE}title"
    assert root.get("viewBox") == "0 0 400 200"
    assert (root.get("width"), root.get("height")) == ("100%", None)


def test_the_drawing_does_not_restyle_the_page():
    root = ElementTree.fromstring(svg.draw(rising, "Rising"))
    assert not list(root.iter(f"{NAMESPACE}style"))
    assert not [e for e in root.iter() if e.tag.endswith("metadata")]


def test_settings_of_the_caller_stay(recwarn):
    with matplotlib.rc_context({"svg.fonttype": "path", "font.size": 40}):
        before = dict(matplotlib.rcParams)
        themed = svg.draw(rising, "Rising")
        assert dict(matplotlib.rcParams) == before
    assert themed == svg.draw(rising, "Rising")
    assert not recwarn.list


def test_a_failing_painter_raises_its_own_error():
    def fail(axes):
        raise RuntimeError("from the painter")

    with pytest.raises(RuntimeError, match="from the painter"):
        svg.draw(fail, "Nothing")
