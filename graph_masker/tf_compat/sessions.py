"""Sees what becomes of graphs: sessions that run them, and Keras models that are trained and saved."""

import contextlib
import errno
import functools
import gc
import inspect
import os
from typing import Any, Callable, Iterator, List

import tensorflow.compat.v1 as tf
from tensorflow.python.client import session as session_lib
from tensorflow.python.framework import ops
from tensorflow.python.keras import backend
from tensorflow.python.keras.engine import network, training
from tensorflow.python.keras.saving import hdf5_format, saved_model_experimental
from tensorflow.python.keras.saving.saved_model import save as saved_model_save

_WATCHER, _MARK = "_graph_masker_runs", "_graph_masker_watched"


@contextlib.contextmanager
def replaced(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """While open, a class or module has `make(original)` in place of one of its functions."""
    original = vars(owner)[name]
    setattr(owner, name, functools.wraps(original)(make(original)))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextlib.contextmanager
def around_sessions(before_run: Callable[[Any], None], before_finalize: Callable[[Any], None]) -> Iterator[None]:
    """While open, tells of every session that is about to run, before it takes in what is new in its graph.

    Args:
        before_run: called with the session.
        before_finalize: called with a graph after which nothing can be added to it.
    """

    def extending(original: Callable[..., Any]) -> Callable[..., Any]:
        def extend(self: Any) -> None:
            before_run(self)
            original(self)

        return extend

    def finalizing(original: Callable[..., Any]) -> Callable[..., Any]:
        def finalize(self: Any) -> None:
            if not self.finalized:
                before_finalize(self)
            original(self)

        return finalize

    # Every way to run a graph comes here first: run, callables and partial runs.
    with replaced(session_lib.BaseSession, "_extend_graph", extending), replaced(ops.Graph, "finalize", finalizing):
        yield


@contextlib.contextmanager
def around_savers(before: Callable[[], None]) -> Iterator[None]:
    """While open, tells that a saver is about to be made in the default graph."""

    def initializing(original: Callable[..., Any]) -> Callable[..., Any]:
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            before()
            original(self, *args, **kwargs)

        return init

    with replaced(tf.train.Saver, "__init__", initializing):
        yield


def watch_runs(graph: Any, before_run: Callable[[Any], None]) -> None:
    """Tells, from now on, of every session of a graph that is about to run. It stays so, whatever else is left."""
    install_run_watcher()
    vars(graph)[_WATCHER] = before_run


def install_run_watcher() -> None:
    """Makes `watch_runs` see runs; what `around_sessions` tells, if opened after this, it tells before."""
    original = session_lib.BaseSession._extend_graph
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def extend(self: Any) -> None:
        watcher = vars(self.graph).get(_WATCHER)
        if watcher is not None:
            watcher(self)
        original(self)

    setattr(extend, _MARK, True)
    session_lib.BaseSession._extend_graph = extend


@contextlib.contextmanager
def around_writers(made: Callable[[str], None]) -> Iterator[None]:
    """While open, tells the directory of every writer of summaries that is made."""

    def initializing(original: Callable[..., Any]) -> Callable[..., Any]:
        def init(self: Any, logdir: Any, *args: Any, **kwargs: Any) -> None:
            made(str(logdir))
            original(self, logdir, *args, **kwargs)

        return init

    with replaced(tf.summary.FileWriter, "__init__", initializing):
        yield


@contextlib.contextmanager
def around_workers(found: Callable[[Any], None]) -> Iterator[None]:
    """While open, tells of every graph that a worker which is not the chief is about to run.

    That is one for which MonitoredTrainingSession or Supervisor is told so.
    """

    def creating(original: Callable[..., Any]) -> Callable[..., Any]:
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            found(tf.get_default_graph())
            original(self, *args, **kwargs)

        return init

    def supervising(original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            given = signature.bind_partial(self, *args, **kwargs).arguments
            if not given.get("is_chief", True):
                found(given.get("graph") or tf.get_default_graph())
            original(self, *args, **kwargs)

        return init

    with replaced(tf.train.WorkerSessionCreator, "__init__", creating), replaced(
        tf.train.Supervisor, "__init__", supervising
    ):
        yield


@contextlib.contextmanager
def around_eager(enabled: Callable[[], None]) -> Iterator[None]:
    """While open, tells that the program has turned on eager execution."""

    def enabling(original: Callable[..., Any]) -> Callable[..., Any]:
        def enable(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            enabled()
            return result

        return enable

    with replaced(ops, "enable_eager_execution_internal", enabling):
        yield


def is_full_disk(error: BaseException) -> bool:
    """Tells whether an error, of Python or of TensorFlow, says that a disk has no space left."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # That memory is exhausted is an error of the same type.
    return isinstance(error, tf.errors.ResourceExhaustedError) and any(
        os.strerror(number) in str(error.message) for number in (errno.ENOSPC, errno.EDQUOT)
    )


def is_local(session: Any) -> bool:
    """Tells whether a session runs in this process, so that nobody else initializes its variables."""
    return not session._target


def sessions_of(graph: Any) -> List[Any]:
    """Returns the sessions of a graph that exist."""
    sessions = (item for item in gc.get_objects() if issubclass(type(item), session_lib.BaseSession))
    return [session for session in sessions if getattr(session, "_graph", None) is graph]


def is_body(graph: Any) -> bool:
    """Tells whether a graph is that of a function's body."""
    return hasattr(graph, "outer_graph") or hasattr(graph, "_outer_graph")


def add_control_input(op: Any, other: Any) -> None:
    """Makes an op wait for another one. No session may have run the first."""
    op._add_control_input(other)


def readers_after(op: Any) -> List[Any]:
    """Returns the ops that read an op's outputs or wait for it."""
    return [*(consumer for tensor in op.outputs for consumer in tensor.consumers()), *op._control_outputs]


def waiting_for(op: Any) -> List[Any]:
    """Returns the ops that wait for an op."""
    return list(op._control_outputs)


def number_of(op: Any) -> int:
    """Returns the number of an op in its graph; ops made later have larger ones."""
    return int(op._id)


def newest_number(graph: Any) -> int:
    """Returns the number of the op that was made last."""
    return int(graph._next_id_counter)


def ops_from(graph: Any, first: int) -> List[Any]:
    """Returns the ops of a graph with numbers above `first`."""
    numbers = range(first + 1, graph._next_id_counter + 1)
    return [graph._nodes_by_id[number] for number in numbers if number in graph._nodes_by_id]


def is_in_loop(op: Any) -> bool:
    """Tells whether an op is in the body of a while loop."""
    context = op._get_control_flow_context()
    while context is not None:
        if context.IsWhileContext():
            return True
        context = context.outer_context
    return False


def track_in_keras(variables: List[Any]) -> None:
    """Makes Keras initialize variables in its session as it does its own."""
    for variable in variables:
        backend.track_variable(variable)


@contextlib.contextmanager
def around_keras(compiled: Callable[[Any], None]) -> Iterator[None]:
    """While open, tells of Keras models: calls `compiled` with every model that is compiled."""

    def compiling(original: Callable[..., Any]) -> Callable[..., Any]:
        def compile_model(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            compiled(self)
            return result

        return compile_model

    with replaced(training.Model, "compile", compiling):
        yield


def install_keras_saving(saving: Callable[[], Any]) -> None:
    """Makes Keras save every model, and its weights, in a context that `saving` returns, from now on."""

    def around_save(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def save(*args: Any, **kwargs: Any) -> Any:
            with saving():
                return original(*args, **kwargs)

        setattr(save, _MARK, True)
        return save

    # What a model's `save`, `save_model` and `export_saved_model` come to, under whichever name they are called.
    for owner, name in (
        (network.Network, "save_weights"),
        (hdf5_format, "save_model_to_hdf5"),
        (saved_model_save, "save"),
        (saved_model_experimental, "_export_mode"),
    ):
        if not hasattr(vars(owner)[name], _MARK):
            setattr(owner, name, around_save(vars(owner)[name]))


def has_train_function(model: Any) -> bool:
    """Tells whether a compiled Keras model has its train op."""
    return getattr(model, "train_function", None) is not None


def keras_session() -> Any:
    """Returns the session that Keras uses for the default graph."""
    return tf.keras.backend.get_session()
