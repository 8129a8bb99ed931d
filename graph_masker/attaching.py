"""Hangs the mask update, and the initializers of masks, on ops that the model's own code runs."""

from typing import Any, Dict, Set

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.masker import Masker
from graph_masker.steps import StepAhead, StepOfItsOwn
from graph_masker.trainers import Hook


def hang_update(masker: Masker, hook: Hook) -> None:
    """Makes an op wait for an update, which waits for all that the op waits for."""
    if hook.apart:
        tf.logging.warning(
            "graph_masker: masks are updated with '%s', which does not wait for what '%s' (and %d more) "
            "write; if all that runs at once, put all that trains at once into one tf.group",
            hook.op.name,
            hook.apart[0],
            len(hook.apart) - 1,
        )
    after = [*hook.op.control_inputs, *(tensor.op for tensor in hook.op.inputs)]
    step: Any = hook.step
    if step is None:
        step = StepOfItsOwn(masker.counter())
    elif hook.is_count:
        step = StepAhead(step, hook.op)
    tf_compat.add_control_input(hook.op, masker.attach_update(*after, step=step))


def initialize_with_weights(masker: Masker, seen: int = 0) -> None:
    """Makes ops that initialize weights, and were built before there were masks, initialize masks too.

    Args:
        masker: of the graph.
        seen: number of the last op that a session may have run.
    """
    shared = [tf_compat.initializer_of(variable) for variable in masker.shared_state]
    wanted: Dict[Any, Dict[Any, None]] = {}
    for item in masker.masked_variables:
        own = [tf_compat.initializer_of(variable) for variable in masker.state_of(item)]
        for op in tf_compat.waiting_for(tf_compat.initializer_of(item.weight)):
            if op.type == "NoOp" and tf_compat.number_of(op) > seen:
                wanted.setdefault(op, {}).update(dict.fromkeys([*own, *shared]))
    for op, initializers in wanted.items():
        held: Set[Any] = set(op.control_inputs)
        for initializer in initializers:
            if initializer not in held:
                tf_compat.add_control_input(op, initializer)
