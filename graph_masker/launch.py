"""Runs an unmodified training script in this process with every Estimator's model_fn made prunable."""

import importlib.util
import os
import runpy
import sys
from typing import Any, List, Sequence

from graph_masker import files, tf_compat
from graph_masker.errors import UsageError
from graph_masker.estimator import auto_mask, is_masked
from graph_masker.plan import PLAN_FILE, MaskPlan
from graph_masker.report import console, sites_table, skips_table
from graph_masker.spec import PruningSpec


def run_program(command: Sequence[str], as_module: bool, spec: PruningSpec) -> None:
    """Runs a script or module as `python script.py ARGS` or `python -m module ARGS` would, pruning what it trains.

    Its exit code, arguments, `__main__` and standard output stay its own. What was masked and what was not goes
    to standard error, and as JSON to `graph_masker_plan.json` in the Estimator's model directory.

    Args:
        command: script path or module name, then its arguments.
        as_module: True for a module.
        spec: applied to every Estimator that the program makes.

    Raises:
        UsageError: there is no such script or module.
        SystemExit, or whatever the program raises.
    """
    target, *arguments = command
    _check_target(target, as_module)
    summary = _Summary()
    tf_compat.wrap_estimators(
        lambda model_fn: model_fn if is_masked(model_fn) else auto_mask(model_fn, spec, on_plan=summary)
    )
    sys.argv = [target, *arguments]
    try:
        if as_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(os.path.abspath(target)))
            runpy.run_path(target, run_name="__main__")
    finally:
        if not summary.graphs:
            console(stderr=True).print(
                f"graph-masker: nothing was pruned: {target} built no Estimator model", highlight=False
            )


def _check_target(target: str, as_module: bool) -> None:
    if as_module:
        sys.path.insert(0, os.getcwd())
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


class _Summary:
    """Shows a plan when a training graph has been masked, unless the same has been shown.

    Attributes:
        graphs: number of graphs masked.
    """

    def __init__(self) -> None:
        self.graphs = 0
        self._shown: List[MaskPlan] = []

    def __call__(self, plan: MaskPlan, mode: str, config: Any) -> None:
        self.graphs += 1
        if mode != "train":
            return
        if plan not in self._shown:
            self._shown.append(plan)
            console(stderr=True).print(sites_table(plan), skips_table(plan))
        model_dir = getattr(config, "model_dir", None)
        if model_dir and "://" not in model_dir and getattr(config, "is_chief", True):
            files.write_text(os.path.join(model_dir, PLAN_FILE), plan.to_json() + "\n")
