"""Savers: what they hold, and how they take in more."""

import contextlib
import functools
from typing import Any, Dict, Iterable, Iterator, List, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import variables as variables_lib

from graph_masker.tf_compat.variables import saved_name


@contextlib.contextmanager
def recorded_savers(graph: Any) -> Iterator[List[Any]]:
    """Yields a list that takes in every saver made in `graph` while open."""
    original = tf.train.Saver.__init__
    made: List[Any] = []

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if tf.get_default_graph() is graph:
            made.append(self)

    tf.train.Saver.__init__ = init
    try:
        yield made
    finally:
        tf.train.Saver.__init__ = original


def set_scaffold_saver(scaffold: Any, saver: Any) -> None:
    """Gives a Scaffold that has no saver one. In place: hooks may hold the same Scaffold."""
    scaffold._saver = saver


def saver_variables(saver: Any) -> List[Any]:
    """Returns the variables that a built saver saves."""
    items = saver._var_list
    found = items.values() if isinstance(items, dict) else items or []
    return [variable for item in found for variable in _parts(item)]


def _parts(item: Any) -> List[Any]:
    """Returns the variables of a saver's item: itself, or those that a partitioned variable consists of."""
    return list(item) if isinstance(item, (list, tuple, variables_lib.PartitionedVariable)) else [item]


def saver_is_built(saver: Any) -> bool:
    """Tells whether a saver has its ops. One that has not will take in all variables when it gets them."""
    return bool(saver._is_built)


def extend_saver(saver: Any, variables: Sequence[Any]) -> None:
    """Makes a built saver hold more variables. In place: hooks may hold the same saver."""
    items = saver._var_list
    if isinstance(items, dict):
        added: Dict[str, Any] = {}
        for variable in variables:
            name = saved_name(variable)
            if name == variable.op.name:
                added[name] = variable
            else:
                added.setdefault(name, []).append(variable)
        saver._var_list = {**items, **added}
    else:
        saver._var_list = [*items, *variables]
    saver.saver_def = None
    saver._is_built = False
    saver.build()


def saver_without(saver: Any, names: Iterable[str]) -> Any:
    """Returns a new saver for what a built one restores, less the variables of these op names. None if empty."""
    dropped = set(names)
    items = saver._var_list
    if isinstance(items, dict):
        kept: Any = {key: item for key, item in items.items() if not dropped.intersection(_op_names(item))}
    else:
        kept = [item for item in items if not dropped.intersection(_op_names(item))]
    if not kept:
        return None
    return tf.train.Saver(kept, sharded=saver._sharded, reshape=saver._reshape)


def _op_names(item: Any) -> List[str]:
    return [str(getattr(getattr(part, "op", part), "name", "")) for part in _parts(item)]
