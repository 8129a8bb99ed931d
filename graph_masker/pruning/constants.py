"""Constants of a frozen graph, changed on its protocol buffer."""

from typing import Any, Callable, Mapping

import tensorflow.compat.v1 as tf

from graph_masker.errors import VerificationError
from graph_masker.files.graphs import ConstantsReader, is_text, read_graph_def, serialized
from graph_masker.files.wire import edited

Edits = Mapping[str, Callable[[Any], Any]]

# Numbers of fields: `node` of a GraphDef; `attr` of a NodeDef, `value` in that map, `tensor` of an AttrValue.
_NODE = (1,)
_TENSOR = (5, 2, 8)


def with_constants(path: str, graph_def: Any, edits: Edits) -> bytes:
    """Returns the content of a frozen graph's file with other values in some constants.

    Every other byte is as it was; of a text file, every other value.

    Args:
        path: of the file.
        graph_def: what it holds.
        edits: function by constant, from its values to new ones.
    """
    reader = ConstantsReader(path, graph_def)
    if is_text(path):
        new = tf.GraphDef()
        new.CopyFrom(graph_def)
        for node in new.node:
            if node.op == "Const" and node.name in edits:
                tensor = node.attr["value"].tensor
                tensor.CopyFrom(_edited(tensor, reader.tensor(node.name), edits[node.name]))
        return serialized(new, path)
    beginnings = tuple(tf.NodeDef(name=name).SerializeToString() for name in edits)

    def edit(content: bytes) -> bytes:
        # A node begins with its name; parsing each of some ten thousand would take longer than all else.
        if content.startswith(b"\n") and not content.startswith(beginnings):
            return content
        node = tf.NodeDef.FromString(content)
        if node.op != "Const" or node.name not in edits:
            return content
        tensor = node.attr["value"].tensor
        new = _edited(tensor, reader.tensor(node.name), edits[node.name])
        serialised: bytes = new.SerializeToString()
        return content if new is tensor else edited(content, _TENSOR, lambda _: serialised)

    with open(path, "rb") as stream:
        return edited(stream.read(), _NODE, edit)


def _edited(tensor: Any, old: Any, edit: Callable[[Any], Any]) -> Any:
    """Returns a TensorProto with new values; the same one where they are the old ones."""
    new = edit(old)
    if new.tobytes() == old.tobytes():
        return tensor
    return type(tensor)(dtype=tensor.dtype, tensor_shape=tensor.tensor_shape, tensor_content=new.tobytes())


def check_constants(path: str, graph_def: Any, edits: Edits) -> None:
    """Rereads a file and compares every node with what it should be.

    Args:
        path: of the file that was written.
        graph_def: the graph that it was made of.
        edits: as for `with_constants`.

    Raises:
        VerificationError: it does not read back as it should.
    """
    found = read_graph_def(path)
    old, new = ConstantsReader(path, graph_def), ConstantsReader(path, found)
    names = {node.name for node in graph_def.node} & edits.keys()
    for name in names:
        if edits[name](old.tensor(name)).tobytes() != new.tensor(name).tobytes():
            raise VerificationError(f"{path}: '{name}' does not read back as it was written; is the disk sound?")
    for written, source in zip(found.node, graph_def.node):
        if source.name in names:
            written.attr["value"].CopyFrom(source.attr["value"])
    # Messages that hold NaN are never equal.
    if found.SerializeToString(deterministic=True) != graph_def.SerializeToString(deterministic=True):
        raise VerificationError(f"{path}: does not read back as it was written; is the disk sound?")
