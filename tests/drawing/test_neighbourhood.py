"""Drawings of sites: what they hold, and that names from files stay text in each format."""

import io
import xml.etree.ElementTree as ElementTree
from typing import Any, Dict, List, Set, Tuple

import networkx as nx
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, UsageError, mask_graph, tf_compat
from graph_masker.drawing import chosen_sites, dot, graphml, kinds, neighbourhood, svg
from graph_masker.inspection import plan_view
from rewriters import DEFAULT_RULES

HOSTILE = 'a"b\\N\\" ]; x -> y [ <b>&lt;</b>{}|\x00\x1b\n\u2028c'
_SVG = "{http://www.w3.org/2000/svg}"


def _view(build: Any, masked: bool = False, trains: bool = True) -> Any:
    with tf.Graph().as_default() as graph:
        output = build()
        if trains:
            tf.train.AdamOptimizer().minimize(tf.reduce_mean(output))
        if masked:
            mask_graph(graph, PruningSpec(0.5, 0, 10), outputs=[output])
        tf.train.Saver()
        return tf_compat.view_of_meta_graph(tf.train.export_meta_graph(graph=graph))


def _recurrent() -> Any:
    sequence = tf.placeholder(tf.float32, [2, 5, 3])
    states, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(4), sequence, dtype=tf.float32)
    return tf.layers.dense(states[:, -1], 2, name="logits")


def _shared() -> Any:
    rows = tf.placeholder(tf.float32, [None, 4])
    weight = tf.get_variable("shared", [4, 4])
    for _ in range(12):
        rows = tf.matmul(rows, weight)
    return rows


def _neighbourhood(view: Any, pattern: str = "") -> Any:
    return neighbourhood(view, chosen_sites(plan_view(view, None, DEFAULT_RULES), pattern), DEFAULT_RULES)


def _edges(graph: Any, kind: str) -> Set[Tuple[str, str]]:
    return {(source, target) for source, target, data in graph.edges(data=True) if data["kind"] == kind}


def _nodes(graph: Any, kind: str) -> Set[str]:
    return {node for node, data in graph.nodes(data=True) if data["kind"] == kind}


def test_a_masked_weight_in_a_loop() -> None:
    graph = _neighbourhood(_view(_recurrent, masked=True))
    kernel, cell = "rnn/basic_lstm_cell/kernel", "rnn/while/basic_lstm_cell/MatMul"
    product = f"{kernel}/masked_weight"
    assert _nodes(graph, kinds.WEIGHT) == {kernel, "logits/kernel"}
    assert _nodes(graph, kinds.MASK) == {"rnn/basic_lstm_cell/mask", "logits/mask"}
    assert _nodes(graph, kinds.PRODUCT) == {product, "logits/kernel/masked_weight"}
    assert _nodes(graph, kinds.CONSUMER) == {cell, "logits/MatMul"}
    assert nx.shortest_path(graph, kernel, cell) == [kernel, f"{kernel}/read", product, f"{cell}/Enter", cell]
    mask = "rnn/basic_lstm_cell/mask"
    assert {(mask, f"{mask}/read"), (f"{mask}/read", product)} <= _edges(graph, kinds.MASKS)
    assert (cell, "logits/MatMul") in _edges(graph, kinds.FLOW)
    assert _edges(graph, kinds.MASKED_HERE) == set()
    assert all(data["op"] in graph or data["kind"] == kinds.RAW for _, data in graph.nodes(data=True))


def test_where_a_mask_would_come() -> None:
    view = _view(_shared)
    graph = _neighbourhood(view)
    site = plan_view(view, None, DEFAULT_RULES).sites[0]
    moved = {(read.tensor[:-2], op) for read in site.reads for op, _ in read.reroutes}
    assert len(moved) == 12 + 12
    assert _edges(graph, kinds.MASKED_HERE) == moved
    assert len(_nodes(graph, kinds.CONSUMER)) == len(_nodes(graph, kinds.GRADIENT)) == 12
    raw = {graph.nodes[node]["op"] for node in _nodes(graph, kinds.RAW)}
    assert raw == set(site.raw_readers)
    assert graph.nodes["shared"]["shape"] == "4 x 4"


def test_activations_do_not_flow_through_shapes() -> None:
    def build() -> Any:
        images = tf.placeholder(tf.float32, [None, None, None, 3])
        first = tf.layers.conv2d(images, 4, 3, name="first")
        second = tf.layers.conv2d(first, 4, 3, name="second")
        return tf.layers.conv2d(tf.reshape(second, tf.shape(first)), 4, 3, name="third")

    flow = _edges(_neighbourhood(_view(build, trains=False)), kinds.FLOW)
    assert flow == {("first/Conv2D", "second/Conv2D"), ("second/Conv2D", "third/Conv2D")}


def test_sites_are_chosen_by_their_names() -> None:
    view = _view(_recurrent)
    assert _nodes(_neighbourhood(view, "^logits"), kinds.WEIGHT) == {"logits/kernel"}
    with pytest.raises(UsageError, match="'nothing' matches none of the 2 weights"):
        _neighbourhood(view, "nothing")
    with pytest.raises(UsageError, match="expected a regular expression, found '\\['"):
        _neighbourhood(view, "[")


@pytest.mark.parametrize("build", [_recurrent, _shared])
@pytest.mark.parametrize("masked", [False, True])
def test_graphml_is_read_back_by_networkx(build: Any, masked: bool) -> None:
    graph = _neighbourhood(_view(build, masked))
    again = nx.read_graphml(io.BytesIO(graphml(graph)))
    assert dict(again.nodes(data=True)) == dict(graph.nodes(data=True))
    assert list(again.edges(data=True)) == list(graph.edges(data=True))


def _boxes(picture: str) -> List[Dict[str, str]]:
    return [group.find(f"{_SVG}rect").attrib for group in ElementTree.fromstring(picture).iter(f"{_SVG}g")]


def _overlap(boxes: List[Dict[str, str]]) -> bool:
    places = [tuple(float(box[key]) for key in ("x", "y", "width", "height")) for box in boxes]
    return any(
        one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + 34
        and other[1] < one[1] + 34
        for number, one in enumerate(places)
        for other in places[number + 1 :]
    )


@pytest.mark.parametrize("build", [_recurrent, _shared])
@pytest.mark.parametrize("masked", [False, True])
def test_no_box_of_a_picture_lies_on_another(build: Any, masked: bool) -> None:
    picture = svg(_neighbourhood(_view(build, masked)))
    root = ElementTree.fromstring(picture)
    boxes = _boxes(picture)
    assert len(boxes) >= 6
    assert not _overlap(boxes)
    assert _overlap([*boxes, {**boxes[0], "x": str(float(boxes[0]["x"]) + 5)}])
    for box in boxes:
        assert float(box["x"]) + float(box["width"]) <= float(root.attrib["width"])
        assert float(box["y"]) + float(box["height"]) <= float(root.attrib["height"])


def test_a_picture_is_the_same_each_time() -> None:
    def lines(picture: str) -> List[str]:
        return [path.attrib["d"] for path in ElementTree.fromstring(picture).iter(f"{_SVG}path")]

    graph = _neighbourhood(_view(_recurrent, masked=True))
    first = lines(svg(graph))
    assert len(first) > 20
    # Other names have other places in sets, as the same names have in another process.
    for number in range(10):
        renamed = nx.relabel_nodes(graph, {node: f"{number}{node}" for node in graph})
        assert lines(svg(renamed)) == first


def test_many_consumers_are_told_by_their_number() -> None:
    texts = [
        element.text for element in ElementTree.fromstring(svg(_neighbourhood(_view(_shared)))).iter(f"{_SVG}text")
    ]
    assert "19 more" in texts
    assert "19 x MatMul" in texts


def _hostile() -> Any:
    graph = _neighbourhood(_view(_shared, trains=False))
    names = {node: f"{node}{HOSTILE}" for node in graph}
    graph = nx.relabel_nodes(graph, names)
    for _, data in graph.nodes(data=True):
        data.update(op=data["op"] + HOSTILE, op_type=data["op_type"] + HOSTILE, site=data["site"] + HOSTILE)
    return graph


def _statements(text: str) -> List[str]:
    """Reads DOT by its rule for quoted strings: a backslash takes the next character along. Strings become ``$``."""
    found, position = "", 0
    while position < len(text):
        if text[position] == '"':
            position += 1
            while text[position] != '"':
                position += 2 if text[position] == "\\" else 1
            found += "$"
        else:
            found += text[position]
        position += 1
    return [line.strip() for line in found.splitlines()]


def test_names_are_text_in_dot() -> None:
    plain, hostile = _neighbourhood(_view(_shared, trains=False)), _hostile()
    assert _statements(dot(hostile)) == _statements(dot(plain))
    edges = [line for line in _statements(dot(hostile)) if line.startswith("$ -> $")]
    assert len(edges) == hostile.number_of_edges()
    assert "\x00" not in dot(hostile)
    assert "\x1b" not in dot(hostile)
    # The control: an unquoted name is seen.
    assert _statements(dot(hostile).replace('\\"', '"')) != _statements(dot(plain))


def test_names_are_text_in_svg() -> None:
    plain, hostile = (
        ElementTree.fromstring(svg(g)) for g in (_neighbourhood(_view(_shared, trains=False)), _hostile())
    )
    assert [element.tag for element in plain.iter()] == [element.tag for element in hostile.iter()]
    shown = (
        HOSTILE.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\n", "\\x0a").replace("\u2028", "\\u2028")
    )
    titles = [element.text for element in hostile.iter(f"{_SVG}title")]
    assert any(title == f"MatMul{shown}" for title in titles)


def test_names_are_text_in_graphml() -> None:
    hostile = _hostile()
    again = nx.read_graphml(io.BytesIO(graphml(hostile)))
    assert again.number_of_nodes() == hostile.number_of_nodes()
    assert again.number_of_edges() == hostile.number_of_edges()
    assert sorted(data["kind"] for _, data in again.nodes(data=True)) == sorted(
        data["kind"] for _, data in hostile.nodes(data=True)
    )
