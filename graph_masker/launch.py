"""Runs an unmodified training program in this process, with whatever it trains made prunable."""

import atexit
import builtins
import contextlib
import importlib.util
import os
import pkgutil
import runpy
import sys
import threading
import types
from importlib.machinery import SourceFileLoader
from typing import Any, List, Optional, Sequence

from graph_masker import tf_compat
from graph_masker.errors import GraphMaskerError, UsageError
from graph_masker.estimator import auto_mask, is_masked
from graph_masker.session import Masking
from graph_masker.spec import PruningSpec
from graph_masker.summary import Summary
from rewriters import DEFAULT_RULES


def run_program(command: Sequence[str], as_module: bool, spec: PruningSpec) -> None:
    """Runs a script or module as `python script.py ARGS` or `python -m module ARGS` would, pruning what it trains.

    An Estimator's graphs are masked as by `auto_mask`, all others as inside `masking`. Exit code, arguments,
    `__main__` and standard output stay the program's own. What is masked and what is not goes to standard error, and
    as JSON to `graph_masker_plan.json` in the directory of the model's checkpoints.

    Args:
        command: script path or module name, then its arguments.
        as_module: True for a module.
        spec: applied to every graph that the program trains.

    Raises:
        UsageError: there is no such script or module.
        SystemExit: with code 2 where the program has succeeded and nothing was masked; or the program's own, or
            whatever else it raises.
    """
    target, *arguments = command
    sys.argv = [target, *arguments]
    # python has put there what holds this program, and would have put what holds the other one.
    if not sys.flags.isolated:
        sys.path[0] = os.getcwd() if as_module else os.path.dirname(os.path.realpath(target))
    _check_target(target, as_module)
    process, summary = os.getpid(), Summary(target)
    masking = _mask_all(spec, summary)
    succeeded = False
    try:
        stop = _run(target, as_module)
        if os.getpid() == process:
            succeeded = stop is None or stop.code is None or stop.code == 0
        if succeeded:
            _wait_for_threads()
            masking.finish()
    except GraphMaskerError:
        raise
    except BaseException as error:
        summary.finish(succeeded=False)
        _tell_full_disk(error, summary)
        raise
    summary.finish(succeeded)
    if succeeded and not (summary.has_masked or summary.is_trained or summary.is_elsewhere):
        sys.exit(2)
    if stop is not None:
        _tell_full_disk(stop, summary)
        raise stop


def _tell_full_disk(error: BaseException, summary: Summary) -> None:
    """Lets the last line be about a full disk, below the program's own traceback, if that is why the program ends."""
    seen: List[BaseException] = []
    cause: Optional[BaseException] = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        if tf_compat.is_full_disk(cause):
            atexit.register(summary.full_disk)
            return
        cause = cause.__cause__ or cause.__context__


def _check_target(target: str, as_module: bool) -> None:
    if as_module:
        try:
            found = importlib.util.find_spec(target)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise UsageError(f"{target}: expected a Python module, found none of that name")
        return
    if not os.path.isfile(target):
        raise UsageError(f"{target}: expected a Python script, found no such file")
    if not os.access(target, os.R_OK):
        raise UsageError(f"{target}: expected a Python script, found one that may not be read")


def _mask_all(spec: PruningSpec, summary: Summary) -> Masking:
    """Makes every Estimator and every other graph of this process prunable, until it ends."""

    def masked(model_fn: Any) -> Any:
        if is_masked(model_fn):
            summary.masked_elsewhere()
            return model_fn
        return auto_mask(model_fn, spec, on_plan=summary.planned, required=False)

    tf_compat.wrap_estimators(masked, summary.made_estimator)
    masking = Masking(spec, DEFAULT_RULES, summary.planned, required=False, on_checkpoint=summary.used_checkpoint)
    stack = contextlib.ExitStack()
    # No default graph is asked for here: a program that executes eagerly says so before there is one.
    stack.enter_context(masking.opened())
    stack.enter_context(tf_compat.around_writers(summary.made_writer))
    stack.enter_context(tf_compat.around_eager(summary.enabled_eager))
    # Models are saved in exit handlers, too: those of the program are registered later, and so called earlier.
    atexit.register(stack.close)
    return masking


def _run(target: str, as_module: bool) -> Optional[SystemExit]:
    """Runs a program in a new module `__main__`, which stays: threads and exit handlers need it after the program.

    Returns:
        what the program raised to end, if it did.
    """
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        if as_module:
            _run_module(target)
        elif pkgutil.get_importer(target) is not None:
            sys.path[0] = target  # An archive.
            _run_module("__main__", alter_argv=False)
        else:
            loader = SourceFileLoader("__main__", target)
            vars(main).update(
                __file__=target, __cached__=None, __loader__=loader, __builtins__=builtins, __annotations__={}
            )
            exec(_code_of(target), vars(main))
    except SystemExit as stop:
        return stop
    return None


# What `python -m` itself calls. runpy.run_module takes the module away again when it has run.
_run_module: Any = vars(runpy)["_run_module_as_main"]


def _code_of(path: str) -> Any:
    with open(path, "rb") as stream:
        compiled = pkgutil.read_code(stream)
        if compiled is not None:
            return compiled
        stream.seek(0)
        return compile(stream.read(), path, "exec", dont_inherit=True)


def _wait_for_threads() -> None:
    """Waits for the threads that Python waits for when a program has ended: they may still train."""
    while True:
        others = [
            thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.current_thread()
        ]
        if not others:
            return
        others[0].join()
