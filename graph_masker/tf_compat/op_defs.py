"""What TensorFlow has registered of op types."""

from typing import Any, Optional

from tensorflow.python.framework import op_def_registry


def number_of_inputs(node: Any) -> Optional[int]:
    """Returns how many tensors a NodeDef must read; None for an op that is not registered."""
    op_def = op_def_registry.get_registered_ops().get(node.op)
    if op_def is None:
        return None
    # Writers may leave out what is as by default.
    attributes = {attr.name: attr.default_value for attr in op_def.attr}
    attributes.update(node.attr)
    counts = (
        attributes[arg.number_attr].i
        if arg.number_attr
        else len(attributes[arg.type_list_attr].list.type)
        if arg.type_list_attr
        else 1
        for arg in op_def.input_arg
    )
    return int(sum(counts))
