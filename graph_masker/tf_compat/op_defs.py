"""What TensorFlow has registered of op types."""

import functools
from typing import Any, Optional, Tuple

from tensorflow.python.framework import op_def_registry


def number_of_inputs(node: Any) -> Optional[int]:
    """Returns how many tensors a NodeDef must read; None for an op that is not registered."""
    counted = _counted(node.op)
    if counted is None:
        return None
    single, lists = counted
    return single + sum(_length(node, *item) for item in lists)


@functools.lru_cache(maxsize=None)
def _counted(op_type: str) -> Optional[Tuple[int, Tuple[Tuple[str, bool, Any], ...]]]:
    """Returns how many single tensors an op reads, and the attributes that count the others.

    Of each attribute: its name, whether it lists types (or else is a number), and its default.
    """
    op_def = op_def_registry.get_registered_ops().get(op_type)
    if op_def is None:
        return None
    defaults = {attr.name: attr.default_value for attr in op_def.attr}
    names = [(arg.number_attr or arg.type_list_attr, not arg.number_attr) for arg in op_def.input_arg]
    lists = tuple((name, is_list, defaults[name]) for name, is_list in names if name)
    return len(names) - len(lists), lists


def _length(node: Any, name: str, is_list: bool, default: Any) -> int:
    # Writers may leave out what is as by default.
    value = node.attr.get(name, default)
    return len(value.list.type) if is_list else int(value.i)
