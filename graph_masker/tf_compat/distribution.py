"""Distribution strategies: variables that have a copy on each device, and model code that is run once for each."""

import os
from typing import Any, Callable, Dict, List, Sequence, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.python.distribute import (
    collective_all_reduce_strategy,
    mirrored_strategy,
    one_device_strategy,
    parameter_server_strategy,
    values,
)

_SUPPORTED = (
    mirrored_strategy.MirroredExtended,
    collective_all_reduce_strategy.CollectiveAllReduceExtended,
    one_device_strategy.OneDeviceExtended,
)


def strategy_problem() -> str:
    """Returns why what is built here cannot be masked for its distribution strategy, in words; else ""."""
    if not tf.distribute.has_strategy():
        return ""
    strategy = tf.distribute.get_strategy()
    one_replica = strategy.num_replicas_in_sync == 1
    if isinstance(strategy.extended, _SUPPORTED) or (
        isinstance(strategy.extended, parameter_server_strategy.ParameterServerStrategyExtended) and one_replica
    ):
        return ""
    found = type(strategy).__name__ + ("" if one_replica else f" of {strategy.num_replicas_in_sync} replicas")
    return (
        "expected MirroredStrategy, OneDeviceStrategy, MultiWorkerMirroredStrategy, or ParameterServerStrategy of one "
        f"replica per process, found {found}; use one of those, or parameter servers without a strategy"
    )


def copies_of(variable: Any) -> Tuple[Any, ...]:
    """Returns the variables that a variable consists of: one per device, or itself."""
    return tuple(variable.values) if isinstance(variable, values.DistributedVariable) else (variable,)


def copies_elsewhere(variable: Any) -> int:
    """Returns how many copies of a variable other processes have, which train it together with this one."""
    whole = whole_of(variable)
    strategy = whole.distribute_strategy if isinstance(whole, values.DistributedVariable) else None
    return 0 if strategy is None else int(strategy.num_replicas_in_sync) - len(copies_of(whole))


def first_copy(variable: Any) -> Any:
    """Returns the copy by whose name a variable is known; a variable without copies itself."""
    return copies_of(variable)[0]


def whole_of(variable: Any) -> Any:
    """Returns what a copy is one of; a variable without copies itself."""
    container = getattr(variable, "_distributed_container", None)
    return variable if container is None else container() or variable


def variables_of(graph: Any) -> List[Any]:
    """Returns the global variables of a graph, every copy of those that have some."""
    return [copy for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES) for copy in copies_of(variable)]


def mirrors_of(graph: Any) -> Dict[str, str]:
    """Returns the copies of mirrored variables but for the first ones, each with its first one, by op names."""
    found: Dict[str, str] = {}
    for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES):
        if isinstance(variable, values.MirroredVariable):
            first, *others = variable.values
            found.update((copy.op.name, first.op.name) for copy in others)
    return found


def mirror(graph: Any, groups: Sequence[Tuple[Any, Sequence[Any]]]) -> None:
    """Makes variables the copies of one, mirrored as another is: savers and initializers then see them as one.

    Args:
        graph: the graph.
        groups: for each that there is to be, a copy of the other, and the variables, one per copy of the other, in the
            same order.
    """
    # By the variable that stands in the collection for now; None for those that go.
    standing: Dict[int, Any] = {}
    for like, copies in groups:
        known = whole_of(like)
        standing.update((id(copy), None) for copy in copies)
        standing[id(copies[0])] = values.MirroredVariable(
            known.distribute_strategy, known.device_map, list(copies), tf.VariableAggregation.ONLY_FIRST_REPLICA
        )
    collection = graph.get_collection_ref(tf.GraphKeys.GLOBAL_VARIABLES)
    now = [standing.get(id(item), item) for item in collection]
    collection[:] = [item for item in now if item is not None]


def global_step(graph: Any) -> Any:
    """Returns the variable that counts a graph's training steps, its first copy where it has some; None without one."""
    step = tf.train.get_global_step(graph)
    return None if step is None else first_copy(step)


def place_of(op: Any) -> str:
    """Returns the device of an op that is placed in a process by name, as on a parameter server; else ""."""
    device = str(op.device)
    return device if tf.DeviceSpec.from_string(device).job not in (None, "localhost") else ""


def place_beside(variable: Any) -> str:
    """Returns where a variable lies that is to be saved together with another one.

    That is the place of the other one's op, or, where that has copies on several devices, the processor beside the
    first: a saver writes what belongs to one processor into one file. "" where no place is needed.
    """
    if not isinstance(whole_of(variable), values.DistributedVariable):
        return place_of(variable.op)
    device = tf.DeviceSpec.from_string(first_copy(whole_of(variable)).op.device)
    return str(device.replace(device_type="CPU", device_index=0).to_string())


def is_chief(config: Any) -> bool:
    """Tells whether this process is the one that looks after the variables that it sees.

    Of the processes of parameter servers one does. Where each process has copies of its own, as under
    MultiWorkerMirroredStrategy, all do.

    Args:
        config: an Estimator's RunConfig; None where there is none: the environment is then asked, as one would.
    """
    if tf.distribute.has_strategy():
        return bool(tf.distribute.get_strategy().extended.experimental_should_init)
    if config is None and not os.environ.get("TF_CONFIG"):
        return True
    return bool((config or tf.estimator.RunConfig()).is_chief)


_RUNS = "_graph_masker_replicas"


def once_per_replica(
    key: Any, start: Callable[[], Any], each: Callable[[], Any], finish: Callable[[Any, Sequence[Any]], Sequence[Any]]
) -> Any:
    """Builds a model for one replica after the other, with something done once around all of them.

    Called in each replica's own context, where TensorFlow builds them by turns.

    Args:
        key: what the calls for the replicas of one model have in common.
        start: returns a context manager, which is entered before the first replica is built, and left after the last.
        each: builds one replica and returns what came of it.
        finish: called once with that manager and what came of each replica, outside of them; returns what each is to
            return.

    Returns:
        what this replica is to return.
    """
    context = tf.distribute.get_replica_context()
    graph = tf.get_default_graph()
    runs: Dict[Any, _Replicas] = vars(graph).setdefault(_RUNS, {})
    if key not in runs:
        runs[key] = _Replicas(start())
    replicas = runs[key]
    try:
        made = each()
    except BaseException:
        runs.pop(key, None)
        replicas.close()
        raise
    number = len(replicas.made)
    replicas.made.append(made)

    def at_end(_: Any) -> None:
        replicas.close()
        replicas.finished = list(finish(replicas.manager, replicas.made))
        runs.pop(key, None)

    # TensorFlow calls this once for all replicas, when the last has come here.
    context.merge_call(at_end)
    return replicas.finished[number]


class _Replicas:
    """What the replicas of one model share."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager
        self.made: List[Any] = []
        self.finished: List[Any] = []
        self._is_open = True
        manager.__enter__()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.manager.__exit__(None, None, None)
