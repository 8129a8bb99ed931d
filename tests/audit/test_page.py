"""The page of a report: one file that asks for nothing, in which names from files are text."""

import html.parser
import io
from dataclasses import replace
from typing import Any, List, Tuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from rich.console import Console

from graph_masker import PruningSpec, report_model
from graph_masker.audit import tables
from graph_masker.audit.data import Finding, Magnitudes
from graph_masker.audit.page import html as page_of
from graph_masker.audit.plots import added_up, histogram, overview, sparsity_bar
from tests.audit.models import train

HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=y>&amp;[bold]\x1b[31m\n=1+1"
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "br", "span", "div", "b", "i", "ul", "li"}
TAGS |= {"code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
TAGS |= {"svg", "rect", "line", "text"}
VOID = {"meta", "br"}


class _Reader(html.parser.HTMLParser):
    """Reads a page as a browser does: its elements, their attributes, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: List[Tuple[str, Any]] = []
        self.text = ""
        self.open: List[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _harmless(page: str) -> _Reader:
    """Reads a page, and checks that nothing in it is run or loaded."""
    read = _Reader(page)
    assert read.open == []
    assert {tag for tag, _ in read.elements} <= TAGS
    for _, attributes in read.elements:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "href", "srcset", "data")}
    assert "url(" not in page
    assert "@import" not in page
    return read


@pytest.fixture(scope="module")
def report(tmp_path_factory: Any) -> Any:
    return report_model(train(tmp_path_factory.mktemp("page"), PruningSpec(0.8, 1, 9, frequency=3), 6).prefix)


def test_a_page_shows_every_layer_and_number(report: Any) -> None:
    read = _harmless(page_of(report))
    rows = [attributes for tag, attributes in read.elements if tag == "tr"]
    assert len(rows) == 1 + len(report.layers)
    for layer in report.layers:
        assert layer.variable in read.text
        assert f"{layer.entries:,}" in read.text
    assert f"{report.sparsity:.4f}" in read.text
    assert f"{report.size.gzip:,} bytes" in read.text
    assert "No faults found" in read.text
    assert "conv/bias" in read.text
    assert any(tag == "meta" and "default-src 'none'" in (a.get("content") or "") for tag, a in read.elements)


def _with_names(report: Any, name: str) -> Any:
    layers = tuple(
        replace(layer, variable=name, op_types=(name,), dense_because=name, positions_unknown=name, dtype=name)
        for layer in report.layers
    )
    others = tuple(replace(other, variable=name, reason=name) for other in report.others)
    findings = tuple(Finding(name, name, name, is_fault) for is_fault in (True, False))
    parts = {"layers": layers, "others": others, "findings": findings, "remarks": (name,)}
    return replace(report, path=name, kind=name, state=name, spec_from=name, **parts)


def test_names_from_files_are_text(report: Any) -> None:
    read = _harmless(page_of(_with_names(report, HOSTILE)))
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\n", "\\x0a")
    assert read.text.count(shown) > 2 * len(report.layers)
    titles = [attributes["title"] for _, attributes in read.elements if "title" in attributes]
    assert titles == [shown] * len(report.layers)


@pytest.mark.parametrize("broken", ["<script>1</script>", "<b onclick=x>", "<td>", "<a href=x>", "<i>url(x)</i>"])
def test_a_page_that_is_not_harmless_is_seen(report: Any, broken: str) -> None:
    with pytest.raises(AssertionError):
        _harmless(page_of(report).replace("<h2>Layers</h2>", broken))


def test_names_on_a_terminal_are_text(report: Any) -> None:
    console = Console(width=400, record=True, file=io.StringIO())
    tables.show(_with_names(report, HOSTILE), console)
    text = console.export_text()
    assert text.count("[bold]\\x1b[31m\\x0a=1+1") > 2 * len(report.layers)
    assert "\x1b" not in text


def test_a_page_of_many_layers(report: Any) -> None:
    many = replace(report, layers=report.layers * 100)
    read = _harmless(page_of(many))
    assert sum(tag == "tr" for tag, _ in read.elements) == 401
    assert len(page_of(many)) < 400 * 8000


def test_bars_are_as_long_as_layers_are_sparse(report: Any) -> None:
    for layer in report.layers:
        (_, whole), (_, bar), *marks = [e for e in _Reader(sparsity_bar(layer)).elements if e[0] in ("rect", "line")]
        assert float(bar["width"]) == pytest.approx(float(whole["width"]) * layer.sparsity, abs=0.006)
        places = [float(mark["x1"]) / float(whole["width"]) for _, mark in marks]
        expected = [] if layer.request is None else [layer.request.target_sparsity, layer.request.sparsity]
        assert places == pytest.approx(expected, abs=1e-4)
    columns = [
        a for tag, a in _Reader(overview(report.layers)).elements if tag == "rect" and a["fill"] != "transparent"
    ]
    heights = [float(column["height"]) / 150 for column in columns]
    assert heights == pytest.approx([layer.sparsity for layer in report.layers], abs=1e-4)


def test_a_histogram_is_as_tall_as_the_counts() -> None:
    drawn = histogram(Magnitudes(-4, (5, 0, 10), (5, 20, 0)), (90, 40), 0.5)
    rects = [a for tag, a in _Reader(drawn).elements if tag == "rect"]
    assert [float(a["height"]) for a in rects] == [10, 10, 40, 20]
    marks = [a for tag, a in _Reader(drawn).elements if tag == "line" and a["stroke-width"] == "1.5"]
    # 2 log2(0.5) = -2, two of the three columns from the left.
    assert [float(a["x1"]) for a in marks] == [60]


def test_histograms_add_up() -> None:
    one, other = Magnitudes(-2, (1, 2), (0, 3)), Magnitudes(1, (4,), (0,))
    assert added_up([one, other]) == Magnitudes(-2, (1, 2, 0, 4), (0, 3, 0, 0))
    assert added_up([]) == added_up([Magnitudes(0, (), ())]) == Magnitudes(0, (), ())


def test_a_frozen_graph_of_a_stranger(tmp_path: Any) -> None:
    """Names that no TensorFlow would let in, from the file to the page."""
    with tf.Graph().as_default() as graph:
        weight = tf.constant(np.eye(3), tf.float32, name="w")
        tf.matmul(tf.placeholder(tf.float32, [1, 3], name="x"), weight, name="y")
    definition = graph.as_graph_def()
    name = HOSTILE.replace(":", "")
    for node in definition.node:
        node.name = name if node.name == "w" else node.name
        node.input[:] = [name if text == "w" else text for text in node.input]
    (tmp_path / "stranger.pb").write_bytes(definition.SerializeToString())
    found = report_model(str(tmp_path / "stranger.pb"))
    assert [layer.variable for layer in found.layers] == [name]
    assert (found.layers[0].zeros, found.multiply_adds) == (6, 9)
    _harmless(page_of(found))
