"""What a run of somebody's training program says of its masking: on standard error, and in a file beside its model."""

import contextlib
import os
import sys
from typing import Any, Dict, FrozenSet, List, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker.errors import PlanError
from graph_masker.files import writing
from graph_masker.files.source import is_readable
from graph_masker.plan import PLAN_FILE, MaskPlan
from graph_masker.plan_changes import plan_changes
from graph_masker.report import console, sites_table, skips_table


class Summary:
    """Shows each plan of a graph that trains, once, and keeps it in the directory of the model's checkpoints.

    An Estimator says what its directory is. Of any other graph it is that of the first checkpoint, or, where none is
    ever written, that of the first summary. A plan that an earlier run left there is compared first. Plans of several
    models in one directory get numbers: ``graph_masker_plan_2.json``.

    Attributes:
        has_masked: whether any graph was masked.
        is_trained: whether nothing was left to do for an Estimator that an earlier run has masked; known at the end.
        is_elsewhere: whether something may be masked that is not told here.
    """

    def __init__(self, program: str) -> None:
        """Args: name of the program, to be named in messages."""
        self.has_masked = self.is_trained = self.is_elsewhere = False
        self._program = program
        self._process = os.getpid()
        # By this, children that are forked tell of what they mask.
        self._told, self._tell = os.pipe()
        os.set_blocking(self._told, False)
        self._shown: List[MaskPlan] = []
        # By directory; that of a plan in its list is the number in its file's name.
        self._kept: Dict[str, List[MaskPlan]] = {}
        self._compared: Set[str] = set()
        self._estimators: Set[str] = set()
        self._made: Set[str] = set()
        # Plans of graphs that are being saved to directories which are not there yet.
        self._awaited: Dict[str, MaskPlan] = {}
        self._writers: List[str] = []
        self._is_eager = False

    def planned(self, plan: MaskPlan, mode: str, config: Any) -> None:
        """Called when a graph has been planned, with its mode and the RunConfig, None outside an Estimator."""
        self.has_masked = self.has_masked or bool(plan.sites)
        if plan.sites and os.getpid() != self._process:
            with contextlib.suppress(OSError):
                os.write(self._tell, b"m")
        directory = _directory(config.model_dir) if config is not None and config.model_dir else None
        if directory is not None:
            self._estimators.add(directory)
        if mode != "train":
            return
        if plan not in self._shown:
            self._shown.append(plan)
            console(stderr=True).print(sites_table(plan), skips_table(plan))
        if directory is not None and config.is_chief:
            self._keep(plan, directory)

    def made_estimator(self, directory: str) -> None:
        """Called with the directory of every Estimator that is made; it may never build a graph."""
        self._made.add(_directory(directory))

    def used_checkpoint(self, plan: MaskPlan, action: str, path: str) -> None:
        """Called before a graph that trains is saved ("save") or restored ("restore"), with its plan and a prefix."""
        directory = _directory(os.path.dirname(path))
        if action == "save":
            # A saver makes the last folder of its path, and fails without the others: neither is to be changed.
            self._awaited[directory] = plan
            self._keep_awaited()
        else:
            self._compare(plan, os.path.join(directory, self._file_of(plan, directory)))

    def _keep_awaited(self) -> None:
        for directory in list(self._awaited):
            if os.path.isdir(directory) or "://" in directory:
                self._keep(self._awaited.pop(directory), directory)

    def made_writer(self, directory: str) -> None:
        """Called with the directory of a writer of summaries."""
        self._writers.append(_directory(directory))

    def enabled_eager(self) -> None:
        """Called when the program turns on eager execution."""
        self._is_eager = True
        self._say(
            "the program executes eagerly from here on, and masks need a graph: only what it builds as a graph all "
            "the same, such as an Estimator's model, is masked"
        )

    def masked_elsewhere(self) -> None:
        """Called where the program's own code may mask what is not told here."""
        self.is_elsewhere = True

    def finish(self, succeeded: bool) -> None:
        """Keeps what is still to be kept at the end of the program; says what is missing, unless it has failed.

        In children that it has forked it does nothing.
        """
        if os.getpid() != self._process:
            return
        self._keep_awaited()
        summaries = [path for path in self._writers if not any(_is_within(path, other) for other in self._estimators)]
        for number, plan in enumerate(self._shown):
            # A graph that has grown has shown a plan each time: the last one holds the others.
            later = self._shown[number + 1 :]
            if plan.sites and not any(_weights(plan) <= _weights(other) for other in (*self._all_kept(), *later)):
                if summaries:
                    self._keep(plan, summaries[0])
                elif succeeded:
                    self._say(
                        f"no {PLAN_FILE} was written, because {self._program} wrote no checkpoint or summary of the "
                        f"graph that trained '{plan.sites[0].variable}'; what Keras saves holds the pruned weights"
                    )
        with contextlib.suppress(OSError):
            self.is_elsewhere = bool(os.read(self._told, 1)) or self.is_elsewhere
        # A program that has failed has said why. It may not have come to its model.
        if not succeeded:
            return
        earlier = sorted(path for path in self._made if os.path.isfile(os.path.join(path, PLAN_FILE)))
        self.is_trained = not self._shown and bool(earlier)
        if not self.has_masked and self.is_trained:
            self._say(f"{self._program} trained nothing: what is masked in {earlier[0]} an earlier run has trained")
        elif not self.has_masked and self.is_elsewhere:
            self._say(
                f"{self._program} masked nothing in this process by these options; children that it forked, or its own "
                "calls of graph_masker, may have"
            )
        elif not self.has_masked:
            self._say(self.nothing_masked())
        elif not any(plan.sites for plan in self._shown):
            self._say(f"{self._program} trained none of the graphs that were masked, so that no mask was updated")

    def full_disk(self) -> None:
        """Says that the disk is full, and from where training can go on; in children, nothing."""
        if os.getpid() != self._process:
            return
        found = [tf.train.latest_checkpoint(path) for path in sorted({*self._estimators, *self._kept, *self._awaited})]
        complete = [prefix for prefix in found if prefix is not None and is_readable(prefix)]
        last = f"the last complete checkpoint is {', '.join(complete)}" if complete else "there is no checkpoint yet"
        self._say(f"the disk is full; {last}. Free some space and run the same again")

    def nothing_masked(self) -> str:
        """Returns why nothing was masked."""
        if self._is_eager:
            why = "it executes eagerly, and masks need a graph; leave out tf.enable_eager_execution()"
        elif self._shown:
            why = "the graphs that it trained have no weight to mask; the reasons are above"
        else:
            why = "it ran no TensorFlow graph with a weight to mask in this process"
        return f"nothing was masked by running {self._program}: {why}"

    def _all_kept(self) -> List[MaskPlan]:
        return [plan for plans in self._kept.values() for plan in plans]

    def _file_of(self, plan: MaskPlan, directory: str) -> str:
        number = self._number(plan, directory)
        stem, ending = os.path.splitext(PLAN_FILE)
        return PLAN_FILE if number == 0 else f"{stem}_{number + 1}{ending}"

    def _number(self, plan: MaskPlan, directory: str) -> int:
        """Returns the number of a model among those of a directory: a graph may have grown since it was saved last."""
        kept = self._kept.get(directory, [])
        own = _weights(plan)
        same = (number for number, other in enumerate(kept) if own <= _weights(other) or own >= _weights(other))
        return next(same, len(kept))

    def _keep(self, plan: MaskPlan, directory: str) -> None:
        if not plan.sites or plan in self._kept.get(directory, ()):
            return
        if "://" in directory:
            self._say(f"{directory}: not on a local disk, so that {PLAN_FILE} is not written there")
        else:
            path = os.path.join(directory, self._file_of(plan, directory))
            self._compare(plan, path)
            writing.write_text(path, plan.to_json() + "\n")
        kept, number = self._kept.setdefault(directory, []), self._number(plan, directory)
        kept[number : number + 1] = [plan]

    def _compare(self, plan: MaskPlan, path: str) -> None:
        """Says what differs from the plan that an earlier run has left there, the first time it is asked."""
        is_first = path not in self._compared
        self._compared.add(path)
        if not is_first or not os.path.exists(path):
            return
        try:
            with open(path, encoding="utf-8") as stream:
                changes = plan_changes(MaskPlan.from_json(stream.read()), plan)
        except (OSError, UnicodeDecodeError, PlanError) as error:
            self._say(f"{path}: expected the plan of an earlier run, found no such file ({_line(error)}); not compared")
            return
        if changes:
            self._say("\n  ".join([f"{path}: masking differs from the run before:", *changes]))

    def _say(self, text: str) -> None:
        print(f"graph-masker: {text}", file=sys.stderr, flush=True)


def _directory(path: str) -> str:
    """Returns one name for a directory, however it is called."""
    return path if "://" in path else os.path.abspath(path)


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + os.sep)


def _weights(plan: MaskPlan) -> FrozenSet[Tuple[str, Tuple[int, ...]]]:
    return frozenset((site.variable, site.shape) for site in plan.sites)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
