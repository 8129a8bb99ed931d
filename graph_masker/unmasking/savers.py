"""Savers that were built anew, to hold masks: the one that was there before takes its place again."""

from typing import Any, Dict, List, Optional, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.unmasking.definition import Definition, data_inputs, op_of


def original_savers(definition: Definition, meta_graph: Any) -> None:
    """Removes savers that hold what is removed, where one that equals them but for that stands unused beside them.

    A Saver built before there were masks is built again with them, and its first ops stay in the graph.
    """
    scopes = _scopes(meta_graph)
    unused = {scope: held for scope, held in _savers(definition).items() if scope not in scopes}
    for scope in scopes:
        held = _savers(definition).get(scope)
        if held is None or not held[1]:
            continue
        original = next((other for other, (kept, gone) in unused.items() if kept == held[0] and not gone), None)
        if original is None:
            continue
        del unused[original]
        for name in definition.nodes:
            if name.startswith(f"{scope}/"):
                definition.removed.add(name)
                twin = f"{original}/{name[len(scope) + 1 :]}"
                if twin in definition.nodes:
                    definition.instead[name] = twin


def _scopes(meta_graph: Any) -> List[str]:
    """Returns the name scopes of the savers that a MetaGraph names, in the order in which they were made."""
    found: Dict[str, None] = {}
    for saver in tf_compat.savers_of_meta_graph(meta_graph):
        found[op_of(saver.restore_op_name).rpartition("/")[0]] = None
    return list(found)


def _savers(definition: Definition) -> Dict[str, Tuple[Tuple[Any, ...], bool]]:
    """Returns, by name scope, what each saver saves that stays, and whether it saves anything that goes."""
    found: Dict[str, List[Any]] = {}
    for node in definition.nodes.values():
        if node.op == "SaveV2" and node.name not in definition.removed:
            found.setdefault(node.name.rpartition("/")[0], []).append(node)
    return {scope: _held(definition, nodes) for scope, nodes in found.items()}


def _held(definition: Definition, nodes: List[Any]) -> Tuple[Tuple[Any, ...], bool]:
    kept, gone = [], False
    for node in nodes:
        names = _strings(definition, node.input[1])
        parts = _strings(definition, node.input[2])
        for name, part, text in zip(names, parts, data_inputs(node)[3:]):
            if op_of(text) in definition.removed:
                gone = True
            else:
                kept.append((name, part))
    return tuple(sorted(kept)), gone


def _strings(definition: Definition, text: str) -> List[bytes]:
    constant: Optional[Any] = definition.nodes.get(op_of(text))
    assert constant is not None, "a graph names no op that it lacks"
    return list(tf.make_ndarray(constant.attr["value"].tensor).tolist())
