"""Tells which tensors of a checkpoint are an optimizer's: slots, and what it counts its own steps by."""

import re
from typing import Any, FrozenSet, Iterator, Optional, Set

from graph_masker import tf_compat
from graph_masker.files.source import CheckpointReader
from graph_masker.naming import whole_name
from graph_masker.view import GraphView, OpName, variable_behind

# Ops by which optimizers write a variable read its slots as variables, too.
_APPLIES = re.compile(r"(Resource)?(Sparse)?Apply")
# Adam's powers of its decay rates; they are no slots of any one variable.
_POWERS = re.compile(r"(^|/)beta[12]_power(_\d+)?$")
# The names that TensorFlow's optimizers give their slots, where nobody named them otherwise.
_NAMES = re.compile(
    r"(Momentum|Adam|Adamax|AdaMax|Adagrad|Adadelta|RMSProp|Ftrl|gradient_accumulator|gradient_squared_accumulator"
    r"|linear|rms|momentum)(_\d+)?$"
)


def optimizer_keys(reader: CheckpointReader, meta_graph: Optional[Any]) -> FrozenSet[str]:
    """Returns the keys of a checkpoint that only an optimizer reads.

    Args:
        reader: the checkpoint.
        meta_graph: its graph, whose ops tell; None where there is none: then the keys' names do. A slot is called
            ``<weight>/Momentum``, ``<weight>/Adam_1``, ... and has its weight's shape.
    """
    held = set(reader.names())
    found = set(_slots_in(tf_compat.view_of_meta_graph(meta_graph))) if meta_graph is not None else set()
    if not found:
        found = {name for name in held if _is_named_as_slot(name, held, reader)}
    return frozenset(found & held)


def _is_named_as_slot(name: str, held: Set[str], reader: CheckpointReader) -> bool:
    if _POWERS.search(name):
        return True
    owner, _, leaf = name.rpartition("/")
    return owner in held and bool(_NAMES.match(leaf)) and reader.shape(owner) == reader.shape(name)


def _slots_in(view: GraphView) -> Iterator[str]:
    for node in view.nodes.values():
        if not _APPLIES.match(node.op_type):
            continue
        for tensor in node.inputs[1:]:
            is_slot = view.is_variable(tensor.op)
            variable = tensor.op if is_slot else variable_behind(view.nodes, tensor.op)
            if is_slot or _POWERS.search(variable):
                yield _saved_name(view, variable)


def _saved_name(view: GraphView, variable: OpName) -> str:
    part = view.slices.get(variable)
    return part.full_name if part is not None else whole_name(variable)
