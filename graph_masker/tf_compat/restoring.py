"""Sees where the variables of a graph are to come from: savers, and initializers that read checkpoints.

An Estimator warm-starts and makes its savers when model_fn has returned, and hooks do so later still. So the changes
made here to TensorFlow's own functions stay; they do nothing to a graph that nobody watches.
"""

import contextlib
import functools
import inspect
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import tensor_util
from tensorflow.python.ops import variable_scope
from tensorflow.python.training import checkpoint_utils

from graph_masker.tf_compat.distribution import whole_of
from graph_masker.tf_compat.estimators import replace_method
from graph_masker.tf_compat.objects import CHECKPOINTS, SAVED_VIEW, STATUS_METHODS
from graph_masker.tf_compat.variables import initializer_of

_WATCHERS, _MARK = "_graph_masker_restoring", "_graph_masker_watched"


class RestoreWatcher:
    """What to do around savers and warm starts of a graph; to be derived from."""

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Returns the context in which a saver makes its ops."""
        yield

    def saver_made(self, saver: Any) -> None:
        """Called with every saver, once it is made."""

    def saver_used(self, saver: Any) -> None:
        """Called with every saver that is about to save or restore; what this makes of its methods is what runs."""

    def checkpoint_used(self, checkpoint: Any, name: str, path: Any) -> None:
        """Called with every tf.train.Checkpoint that is about to save or restore, which of them, and where."""

    @contextlib.contextmanager
    def starting(self, prefix: str, assignments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Returns the context in which `tf.train.init_from_checkpoint` changes initializers.

        Yields:
            what to ask it for in place of what it was asked for.
        """
        yield assignments


class Start(NamedTuple):
    """Where an initializer reads a value: prefix of the checkpoint, key in it, and the part of it ("" for all)."""

    prefix: str
    key: str
    part: str


def watch_restoring(graph: Any, watcher: RestoreWatcher) -> None:
    """Tells a watcher of every saver and warm start of a graph, from now on."""
    install_watchers()
    vars(graph).setdefault(_WATCHERS, []).append(watcher)


def _watchers(graph: Any = None) -> List[RestoreWatcher]:
    return list(vars(graph or tf.get_default_graph()).get(_WATCHERS, ()))


def install_watchers() -> None:
    """Makes the changes; whoever changes the same functions for a while does so after this, and puts them back."""
    if hasattr(checkpoint_utils._init_from_checkpoint, _MARK):
        return
    init, build, start = tf.train.Saver.__init__, tf.train.Saver.build, checkpoint_utils._init_from_checkpoint

    @functools.wraps(init)
    def watched_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        for watcher in _watchers():
            watcher.saver_made(self)

    @functools.wraps(build)
    def watched_build(self: Any) -> None:
        with contextlib.ExitStack() as stack:
            for watcher in _watchers():
                stack.enter_context(watcher.building())
            build(self)

    # tf.train.init_from_checkpoint, warm starts of Estimators and hub modules all come here.
    @functools.wraps(start)
    def watched_start(ckpt_dir_or_file: Any, assignment_map: Any) -> None:
        with contextlib.ExitStack() as stack:
            for watcher in _watchers():
                prefix = checkpoint_utils._get_checkpoint_filename(ckpt_dir_or_file)
                assignment_map = stack.enter_context(watcher.starting(prefix, assignment_map))
            start(ckpt_dir_or_file, assignment_map)

    def watched_use(original: Callable[..., Any]) -> Callable[..., Any]:
        name = original.__name__

        @functools.wraps(original)
        def use(self: Any, sess: Any, *args: Any, **kwargs: Any) -> Any:
            has_own = name in vars(self)
            for watcher in _watchers(getattr(sess, "graph", None)):
                watcher.saver_used(self)
            if not has_own and name in vars(self):
                return getattr(self, name)(sess, *args, **kwargs)
            return original(self, sess, *args, **kwargs)

        return use

    def watched_checkpoint(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def use(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).args
            tell(given[0], name, given[1])
            result = original(*args, **kwargs)
            if name == "restore" and not tf.executing_eagerly():
                # Its objects may come into being later, and what they bring along is asked for by these at the latest.
                for asked in STATUS_METHODS:
                    replace_method(result, asked, functools.partial(telling_first, *given[:2]))
            return result

        return use

    def telling_first(checkpoint: Any, path: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def use(*args: Any, **kwargs: Any) -> Any:
            tell(checkpoint, "restore", path)
            return original(*args, **kwargs)

        return use

    def tell(checkpoint: Any, name: str, path: Any) -> None:
        for watcher in [] if tf.executing_eagerly() else _watchers():
            watcher.checkpoint_used(checkpoint, name, path)

    def watched_view(self: Any, root: Any, *args: Any, **kwargs: Any) -> None:
        tell(root, "save", None)
        make_view(self, root, *args, **kwargs)

    # tf.saved_model.save refuses functions that use what does not hang on the object it saves.
    make_view = SAVED_VIEW.__init__
    SAVED_VIEW.__init__ = watched_view
    for kind in CHECKPOINTS:
        # (Its `save` writes.)
        kind.write = watched_checkpoint("save", kind.write)
        kind.restore = watched_checkpoint("restore", kind.restore)
    tf.train.Saver.save, tf.train.Saver.restore = watched_use(tf.train.Saver.save), watched_use(tf.train.Saver.restore)
    setattr(watched_start, _MARK, True)
    tf.train.Saver.__init__, tf.train.Saver.build = watched_init, watched_build
    checkpoint_utils._init_from_checkpoint = watched_start


def start_of(variable: Any) -> Optional[Start]:
    """Returns where a variable's initializer reads its value; None where it computes it."""
    whole = whole_of(variable)
    initializer = initializer_of(variable if whole is variable or whole._initializer_op is None else whole)
    while initializer is not None and initializer.type == "NoOp" and initializer.control_inputs:
        # Of the copies of a mirrored variable each has one; all read the same.
        initializer = initializer.control_inputs[0]
    if initializer is None or len(initializer.inputs) < 2:
        return None
    value = initializer.inputs[1]
    while value.op.type == "Identity":
        value = value.op.inputs[0]
    if value.op.type != "RestoreV2":
        return None
    prefix, keys, parts = (tensor_util.constant_value(tensor) for tensor in value.op.inputs)
    if prefix is None or keys is None or parts is None:
        return None
    index = value.value_index
    return Start(*(tf.compat.as_str_any(item) for item in (prefix.item(), keys[index], parts[index])))


def start_from(graph: Any, variable: Any, start: Start) -> None:
    """Makes a variable's initializer read its value from a checkpoint."""
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope("model_pruning/"):
        checkpoint_utils._set_checkpoint_initializer(whole_of(variable), start.prefix, start.key, start.part)


def start_as_made(graph: Any, variable: Any) -> None:
    """Gives a variable the initializer back that it was made with."""
    whole_of(variable)._initializer_op = None
    variable._initializer_op = graph.get_operation_by_name(f"{variable.op.name}/Assign")
    variable._initial_value = variable._initializer_op.inputs[1]


def first_value(graph: Any, variable: Any) -> Any:
    """Returns the tensor that a variable was made to start from, whatever its initializer reads now."""
    return graph.get_operation_by_name(f"{variable.op.name}/Assign").inputs[1]


@contextlib.contextmanager
def hidden_from_scopes(names: Set[str]) -> Iterator[None]:
    """While open, `tf.get_variable` and whatever goes through the variables of a scope do not know some variables."""
    store: Dict[str, Any] = variable_scope._get_default_variable_store()._vars
    hidden = {name: store.pop(name) for name in names if name in store}
    try:
        yield
    finally:
        store.update(hidden)


def ops_run_by(fetches: Any) -> Set[Any]:
    """Returns all ops that run when some ops or tensors are fetched."""
    waiting = [getattr(fetch, "op", fetch) for fetch in tf.nest.flatten(fetches)]
    found: Set[Any] = set()
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting.extend([*op.control_inputs, *(tensor.op for tensor in op.inputs)])
    return found


def set_init_op(scaffold: Any, op: Any) -> None:
    """Gives a Scaffold another op that initializes its variables. In place: hooks may hold the same Scaffold."""
    scaffold._init_op = op
