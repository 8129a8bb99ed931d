"""Editing a serialised message leaves every other byte as it is."""

from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from graph_masker.errors import SourceError
from graph_masker.files.wire import edited


def _graph_def() -> Any:
    graph_def = tf.GraphDef()
    for number, size in enumerate((0, 3, 200, 70000)):
        node = graph_def.node.add(name=f"n{number}", op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(b"x" * size))
        node.attr["dtype"].type = tf.string.as_datatype_enum
    graph_def.versions.producer = 134
    graph_def.library.function.add().signature.name = "f"
    return graph_def


def test_only_what_the_function_changes_is_changed() -> None:
    graph_def = _graph_def()
    content = graph_def.SerializeToString()
    seen = []

    def rename(node: bytes) -> bytes:
        seen.append(tf.NodeDef.FromString(node).name)
        return node.replace(b"\x02n2", b"\x04long") if b"n2" in node else node

    found = tf.GraphDef.FromString(edited(content, [1], rename))
    assert seen == ["n0", "n1", "n2", "n3"]
    graph_def.node[2].name = "long"
    assert found == graph_def
    assert edited(content, [1], lambda node: node) == content
    assert edited(content, [1], bytes) == content


def test_bytes_that_another_program_wrote_stay() -> None:
    """Fields out of order, unknown ones of every kind, and lengths in more bytes than they need."""
    foreign = b"\x98\x06\x81\x00" + b"\x99\x06" + b"8" * 8 + b"\x9d\x06" + b"4" * 4 + b"\x9a\x06\x03abc"
    node = b"\x0a\x86\x80\x00" + b"\x0a\x01a" + b"\x12\x01b"
    content = foreign + node + foreign
    assert edited(content, [1], lambda found: found + b"") == content
    assert (
        edited(content, [1], lambda found: found + b"\x12\x01c")
        == foreign + b"\x0a\x09" + node[4:] + b"\x12\x01c" + foreign
    )
    assert edited(content, [2], lambda found: b"never") == content


def test_parts_within_parts() -> None:
    content = _graph_def().SerializeToString()
    found = tf.GraphDef.FromString(
        edited(content, [1, 5, 2, 8], lambda tensor: tf.make_tensor_proto(7).SerializeToString())
    )
    assert [tf.make_ndarray(node.attr["value"].tensor).tolist() for node in found.node] == [7] * 4
    assert [node.name for node in found.node] == ["n0", "n1", "n2", "n3"]


@pytest.mark.parametrize(
    "content", [b"\x0a\x05ab", b"\x0a", b"\xff" * 11, b"\x0b\x00", b"\x09\x00", b"\x0a" + b"\xff" * 9 + b"\x01"]
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(SourceError, match="expected a protocol buffer"):
        edited(content, [1], lambda node: node)
