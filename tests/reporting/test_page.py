import html.parser
import os

import pytest

import kbig.reporting
from kbig.errors import UsageError
from kbig.reporting import Cards
from kbig.reporting import Details
from kbig.reporting import Figure
from kbig.reporting import Percent
from kbig.reporting import Prediction
from kbig.reporting import Predictions
from kbig.reporting import Preformatted
from kbig.reporting import Section
from kbig.reporting import Table
from kbig.reporting import Text
from kbig.reporting import plots
from kbig.reporting.page import page
from kbig.reporting.page import write_page

HOSTILE = (
    "</title></style><script>alert('1')</script> \"quoted\" & 🎉 "
    "مرحبا 日本語 " + "w" * 2000
)
VOID = {"meta", "link", "br", "img"}


class Outline(html.parser.HTMLParser):
    """Elements with their attributes and texts; fails on bad nesting."""

    def __init__(self, source: str):
        super().__init__()
        self.elements = []
        self._open = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes) -> list[dict]:
        wanted = {"tag": tag, **attributes}
        return [e for e in self.elements if wanted.items() <= e.items()]

    def texts(self, tag: str, **attributes) -> list[str]:
        return [
            " ".join(e["text"].split()) for e in self.all(tag, **attributes)
        ]


def outline(*blocks, **options) -> Outline:
    return Outline(page("Run", [Section("Part", blocks)], **options))


def every_block(text: str) -> list:
    return [
        Text(text),
        Preformatted(text),
        Table(text, (text, "n"), [(text, 1)], note=text),
        Cards([(text, text, text)]),
        Figure(plots.bars([text], [1], text), text),
        Predictions([Prediction(text, {text: 1.0}, text)]),
        Details(text, Details(text, Text(text))),
    ]


def test_hostile_text_is_shown_and_never_followed():
    section = Section(HOSTILE, every_block(HOSTILE), lead=HOSTILE)
    source = page(HOSTILE, [section] * 5, footer=HOSTILE)
    parsed = Outline(source)
    assert not parsed.all("script")
    assert len(parsed.all("style")) == 1
    shown = " ".join(HOSTILE.split())
    for tag in ("h1", "h2", "h3", "pre", "blockquote", "summary", "footer"):
        assert set(parsed.texts(tag)) == {shown}
    for element in parsed.elements:
        assert not [name for name in element if name.startswith("on")]


def test_the_page_forbids_scripts_and_loads_nothing():
    section = Section("Part", every_block("text"))
    parsed = Outline(page("Run", [section]))
    (policy,) = parsed.all("meta", **{"http-equiv": "Content-Security-Policy"})
    directives = dict(
        directive.split(maxsplit=1)
        for directive in policy["content"].split("; ")
    )
    assert directives["default-src"] == "'none'"
    assert "script-src" not in directives
    for element in parsed.elements:
        for name in ("src", "href", "xlink:href"):
            assert element.get(name, "#").startswith(("#", "data:"))


def test_the_page_declares_what_browsers_need():
    source = page("A run", [])
    parsed = Outline(source)
    assert source.startswith("<!DOCTYPE html>")
    assert source.index('<meta charset="utf-8">') < 1024
    assert parsed.all("html", lang="en")
    assert parsed.all("meta", name="viewport")
    assert parsed.all("meta", name="color-scheme", content="light dark")
    assert parsed.texts("title") == ["A run"]
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source
    assert not parsed.all("footer")


def test_ids_are_unique_with_many_drawings():
    drawings = [
        Figure(plots.curves({"loss": [3, 2, index]}, "Loss"))
        for index in range(3)
    ]
    ids = [e["id"] for e in outline(*drawings).elements if e.get("id")]
    assert len(ids) == len(set(ids)) == 2 + 3


@pytest.mark.parametrize("count, links", [(4, 0), (5, 5)])
def test_more_than_four_sections_get_contents(count, links):
    sections = [Section(f"Part {index}", []) for index in range(count)]
    parsed = Outline(page("Run", sections))
    targets = [e["href"].removeprefix("#") for e in parsed.all("a")]
    assert len(targets) == links
    assert set(targets) <= {e["id"] for e in parsed.all("section")}
    assert parsed.texts("a") == [s.title for s in sections[:links]]


def test_tables_format_cells_and_align_numbers():
    table = Table("T", ("name", "share"), [("a", Percent(0.5)), ("b", None)])
    parsed = outline(table)
    assert parsed.texts("td") == ["a", "50.00 %", "b", "–"]
    assert parsed.texts("td", **{"class": "number"}) == ["50.00 %", "–"]
    assert parsed.texts("th", **{"class": "number"}) == ["share"]
    (box,) = parsed.all("div", **{"class": "scroll"})
    assert box["tabindex"] == "0"


def test_cards_show_label_value_and_hint():
    parsed = outline(
        Cards([("Accuracy", Percent(0.934), "2,000 examples"), ("n", 1, "")])
    )
    assert parsed.texts("dt") == ["Accuracy", "n"]
    assert parsed.texts("dd") == ["93.40 %", "2,000 examples", "1"]


def test_predictions_rank_their_classes_and_say_whether_they_are_right():
    shares = {"a": 0.02, "b": 0.5, "c": 0.4, "d": 0.05, "e": 0.02, "f": 0.01}
    examples = [Prediction("x", shares, label) for label in ("b", "f", None)]
    parsed = outline(Predictions(examples))
    names = parsed.texts("span", **{"class": "name"})
    assert names == ["b", "c", "d", "a", "e"] * 3
    widths = [e["style"] for e in parsed.all("span", **{"class": "bar"})]
    assert widths[:2] == ["width: 50.0%", "width: 40.0%"]
    assert parsed.texts("span", **{"class": "share"})[:2] == [
        "50.00 %",
        "40.00 %",
    ]
    assert [e["class"] for e in parsed.all("p")] == [
        "verdict right",
        "verdict wrong",
    ]
    assert parsed.texts("p")[1] == "✗ wrong: the true label is f"


def test_blocks_fold_away_and_wide_figures_say_so():
    drawing = plots.bars(["a"], [1], "One")
    parsed = outline(
        Details("More", Preformatted("a  b\n  c")), Figure(drawing, wide=True)
    )
    assert parsed.texts("details") == ["More a b c"]
    assert parsed.all("pre")[0]["text"] == "a  b\n  c"
    assert [e.get("class") for e in parsed.all("figure")] == ["wide"]
    assert len(parsed.all("svg")) == 1


def test_the_same_report_gives_the_same_page():
    sections = [Section("Part", every_block("text"))]
    assert page("Run", sections) == page("Run", sections)


def test_write_page_writes_what_page_returns(tmp_path):
    sections = [Section("日本", every_block("text"))]
    path = write_page(tmp_path / "report.html", "Run", sections, footer="end")
    expected = page("Run", sections, footer="end")
    assert path.read_text(encoding="utf-8") == expected
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Section("Part", ["text"]), "str in the section 'Part'"),
        (lambda: Details("More", "text"), "str in the details 'More'"),
        (lambda: Figure("<img src=x>"), r"Received: svg='<img src=x>'"),
        (lambda: Cards([("label", 1)]), r"Received: \('label', 1\)"),
        (lambda: Prediction("x", {}), "Received: probabilities={}"),
        (lambda: Prediction("x", {"a": 2.5}), "Apply a softmax"),
        (lambda: Prediction("x", {"a": float("nan")}), "Apply a softmax"),
    ],
)
def test_malformed_blocks_are_refused(build, message):
    with pytest.raises(UsageError, match=message):
        build()


def test_every_public_name_is_there():
    for name in kbig.reporting.__all__:
        assert getattr(kbig.reporting, name).__name__ == name
