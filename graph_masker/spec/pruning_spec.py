"""PruningSpec: how sparse, when, and which weights. Validates itself; needs no TensorFlow."""

import os
from dataclasses import dataclass, fields
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from graph_masker.errors import SpecError
from graph_masker.spec import checks, hparams, reading
from graph_masker.spec.rules import Rule, parse_rules
from graph_masker.spec.settings import (
    ALLOCATIONS,
    CONSTANT,
    CRITERIA,
    CURVES,
    MAGNITUDE,
    MOST_VALUES,
    ONE_SHOT,
    POLYNOMIAL,
    UNIFORM,
)
from graph_masker.spec.structure import NM, Element, Structure, parse_structure, plain_structure
from graph_masker.spec.timing import count_updates, scheduled
from graph_masker.spec.weights import (
    WeightSpec,
    check_rules,
    implied_target,
    rule_settings,
    unmatched_patterns,
    weight_spec,
)

# Stands for a value that is not given, where the field's type has none to say so.
_LEFT_OUT: Any = None


@dataclass(frozen=True)
class PruningSpec:
    """A pruning schedule and the weights it applies to.

    Attributes:
        target_sparsity: fraction of zeros in each masked weight at the end of the schedule, 0 <= s < 1. It may be
            left out where structure (n:m) or schedule (its last value) says it.
        begin_step: global step of the first mask update, at least 0.
        end_step: global step of the last mask update, above `begin_step`; the target is reached there. None: masks
            go on being updated for as long as the model trains.
        frequency: global steps between two updates, at least 1.
        initial_sparsity: fraction of zeros at which the polynomial begins, 0 <= s < 1.
        exponent: of the polynomial schedule, above 0; 3 is Zhu & Gupta (2017), equation 1.
        include: regular expressions, searched in variable names; where given, only matches are masked.
        exclude: regular expressions; matching variables stay dense, even if included.
        also: families of ops masked only on request, such as ``depthwise``.
        schedule: ``polynomial``; ``constant``: the target from `begin_step` on; ``one_shot``: one update, at
            `begin_step`, at the target; or one fraction of zeros for each update. A callable from a global step to
            such a fraction is taken, too: it is called once for each update, and its values are kept.
        sparsity_begin_step: where the polynomial begins; None: at `begin_step`.
        sparsity_end_step: where it ends and the target is reached; None: at `end_step`. Beyond `end_step` the target
            is not reached.
        threshold_decay: share of the previous threshold in the new one, 0 <= d < 1. Above 0 counts are not exact.
        continue_from_masks: a weight whose restored mask is sparser than the schedule asks for stays that sparse.
        structure: what is pruned as one. The plain forms, such as ``2:4``, are taken, too.
        allocation: ``uniform``: the target is that of each weight; ``global``: of a group of weights, which share one
            threshold; ``erk``: of all weights, by Erdos-Renyi-Kernel.
        criterion: ``magnitude``, ``movement`` or ``taylor``.
        max_sparsity: under global and erk no weight gets sparser than this fraction of zeros, 0 < m <= 1.
        rules: what differs for some weights; the first rule that matches applies.

    Raises:
        SpecError: a value is out of range or of the wrong kind; the message says what is allowed.
    """

    target_sparsity: float = _LEFT_OUT
    begin_step: int = _LEFT_OUT
    end_step: Optional[int] = None
    frequency: int = 10
    initial_sparsity: float = 0.0
    exponent: float = 3.0
    include: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    also: Tuple[str, ...] = ()
    schedule: Union[str, Tuple[float, ...], Callable[[int], float]] = POLYNOMIAL
    sparsity_begin_step: Optional[int] = None
    sparsity_end_step: Optional[int] = None
    threshold_decay: float = 0.0
    continue_from_masks: bool = True
    structure: Structure = Element()  # noqa: RUF009 (frozen)
    allocation: str = UNIFORM
    criterion: str = MAGNITUDE
    max_sparsity: float = 1.0
    rules: Tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        self._set("structure", parse_structure("structure", self.structure))
        self._check_missing()
        self._set("begin_step", checks.steps("begin_step", self.begin_step, 0))
        self._set("frequency", checks.steps("frequency", self.frequency, 1))
        for name in ("end_step", "sparsity_end_step"):
            self._set(name, checks.optional_steps(name, getattr(self, name), 1))
        self._set("sparsity_begin_step", checks.optional_steps("sparsity_begin_step", self.sparsity_begin_step, 0))
        self._set("initial_sparsity", checks.sparsity("initial_sparsity", self.initial_sparsity))
        self._set("exponent", checks.exponent("exponent", self.exponent))
        self._set("threshold_decay", checks.decay("threshold_decay", self.threshold_decay))
        self._set("max_sparsity", checks.cap("max_sparsity", self.max_sparsity))
        checks.flag("continue_from_masks", self.continue_from_masks)
        checks.choice("allocation", self.allocation, ALLOCATIONS)
        checks.choice("criterion", self.criterion, CRITERIA)
        for name in ("include", "exclude"):
            self._set(name, checks.patterns(name, getattr(self, name)))
        self._set("also", checks.strings("also", self.also))
        self._set("rules", parse_rules("rules", self.rules))
        self._check_schedule()
        self._set("target_sparsity", self._checked_target())
        self._check_curve()
        check_rules(self)

    @property
    def values(self) -> Optional[Tuple[float, ...]]:
        """The sparsity of each update, where the schedule is a list of them; None where it is a curve."""
        return self.schedule if isinstance(self.schedule, tuple) else None

    @property
    def last_step(self) -> Optional[int]:
        """The step of the last scheduled update; None where updates go on."""
        return self.begin_step if self.schedule == ONE_SHOT else self.end_step

    @property
    def curve(self) -> Tuple[int, int]:
        """The steps where the sparsity begins to rise, and from which on it is the target.

        They are equal for a constant and a one-shot schedule.
        """
        if self.schedule in (CONSTANT, ONE_SHOT):
            return self.begin_step, self.begin_step
        begin = self.begin_step if self.sparsity_begin_step is None else self.sparsity_begin_step
        end = self.end_step if self.sparsity_end_step is None else self.sparsity_end_step
        assert end is not None, "checked when the spec was made"
        return begin, end

    def for_weight(self, variable_name: str) -> WeightSpec:
        """Returns what applies to the weight whose variable has that (op) name."""
        return weight_spec(self, variable_name)

    def rule_settings(self) -> List[Tuple[Rule, WeightSpec]]:
        """Returns each rule that does not exclude, with what applies to the weights that it matches first."""
        return rule_settings(self)

    def unmatched_patterns(self, names: Iterable[str]) -> Tuple[Tuple[str, str], ...]:
        """Returns (key, pattern), such as ``("rules[1].match", "conv9")``, for each pattern found in none of the names.

        Rules that are marked optional are left out.
        """
        return unmatched_patterns(self, names)

    def to_dict(self) -> Dict[str, Any]:
        """Returns all fields as plain values, as YAML and JSON have them; `from_dict` takes them back."""
        plain: Dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            plain[field.name] = list(value) if isinstance(value, tuple) else value
        return {**plain, "structure": plain_structure(self.structure), "rules": [rule.to_dict() for rule in self.rules]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PruningSpec":
        """Builds a spec from a mapping of field names to values.

        Raises:
            SpecError: a key is unknown, a required one is missing or a value is out of range.
        """
        checks.known_keys("", values, [field.name for field in fields(cls)])
        return cls(**dict(values))

    @classmethod
    def from_file(
        cls, path: Union[str, "os.PathLike[str]"], schedule: Optional[Mapping[str, Any]] = None
    ) -> "PruningSpec":
        """Reads a spec from a YAML or JSON file that holds one mapping.

        Args:
            path: of the file.
            schedule: fields that a file without `begin_step`, `end_step` and `schedule` is to have; None for none.

        Raises:
            SpecError: the file cannot be read or does not hold a valid spec; the message names the file.
        """
        name = os.fspath(path)
        values = reading.read_mapping(name)
        if schedule is not None and not {"begin_step", "end_step", "schedule"} & values.keys():
            values = {**values, **schedule}
        try:
            return cls.from_dict(values)
        except SpecError as error:
            raise SpecError(f"{name}: {error}") from error

    @classmethod
    def from_hparams(cls, text: str) -> "PruningSpec":
        """Builds a spec from the text that configures tf.contrib.model_pruning, such as ``target_sparsity=0.85``.

        Every name of contrib's is known, with its default. Masks then follow contrib's schedule: they regrow where a
        restored mask is sparser than it asks for.

        Raises:
            SpecError: the text cannot be parsed, or a value is not possible.
        """
        values = hparams.spec_values(hparams.parse_hparams(text))
        try:
            return cls(**values)
        except SpecError as error:
            raise SpecError(f"hparams: {hparams.in_contribs_words(str(error))}") from error

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_missing(self) -> None:
        """Names at once everything that is needed and not given."""
        needs_target = not isinstance(self.structure, NM) and (self.schedule is None or isinstance(self.schedule, str))
        needs_end = self.schedule == POLYNOMIAL and self.sparsity_end_step is None
        needed = [("target_sparsity", needs_target), ("begin_step", True), ("end_step", needs_end)]
        missing = [name for name, is_needed in needed if is_needed and getattr(self, name) is None]
        if missing:
            without_end = "; to update masks without end, give sparsity_end_step" if "end_step" in missing else ""
            names = ", ".join(name for name, is_needed in needed if is_needed)
            raise SpecError(f"missing {', '.join(missing)}: a spec needs {names}{without_end}")

    def _check_schedule(self) -> None:
        """Checks what belongs to the kind of schedule, and turns a callable or a list into its values."""
        schedule: Any = self.schedule
        kind = "a list" if isinstance(schedule, (list, tuple)) else "a callable" if callable(schedule) else schedule
        if kind is schedule and not (isinstance(schedule, str) and schedule in CURVES):
            raise SpecError(
                f"schedule: expected {', '.join(CURVES)}, or a list with one fraction of zeros for each update, found "
                f"{checks.shown(schedule)}"
            )
        if self.schedule != POLYNOMIAL:
            without = {"initial_sparsity": 0.0, "exponent": 3.0, "sparsity_begin_step": None, "sparsity_end_step": None}
            if self.schedule == ONE_SHOT:
                without.update(end_step=None, frequency=10)
            told = [name for name, default in without.items() if getattr(self, name) != default]
            if told:
                raise SpecError(f"{', '.join(told)}: cannot be given where schedule is {kind}; leave it out")
        if self.end_step is not None and self.begin_step >= self.end_step:
            raise SpecError(
                f"begin_step, end_step: expected begin_step < end_step, found {self.begin_step} and "
                f"{self.end_step}; raise end_step or lower begin_step"
            )
        if not isinstance(schedule, str):
            self._set("schedule", self._checked_values(schedule, kind))

    def _checked_values(self, schedule: Any, kind: str) -> Tuple[float, ...]:
        if self.end_step is None:
            raise SpecError(f"end_step: expected the step of the last update where schedule is {kind}, found none")
        count = count_updates(self.begin_step, self.end_step, self.frequency)
        if count > MOST_VALUES:
            raise SpecError(
                f"schedule: expected at most {MOST_VALUES} updates where it is {kind}, found {count}; raise frequency"
            )
        steps = scheduled(self.begin_step, self.end_step, self.frequency, None)
        if callable(schedule):
            return tuple(checks.sparsity(f"schedule at step {step}", schedule(step)) for step in steps)
        if len(schedule) != count:
            raise SpecError(
                f"schedule: expected {count} fractions of zeros, one for each update from step {steps[0]} to "
                f"{steps[-1]}, found {len(schedule)}"
            )
        return tuple(checks.sparsity(f"schedule[{index}]", value) for index, value in enumerate(schedule))

    def _checked_target(self) -> float:
        given = self.target_sparsity
        target = None if given is None else checks.sparsity("target_sparsity", given)
        if isinstance(self.structure, NM):
            target = implied_target("target_sparsity", target, self.structure)
        if self.values is not None:
            last = self.values[-1]
            if target is not None and target != last:
                raise SpecError(
                    f"schedule: expected its last value to be target_sparsity, {target!r}, found {last!r}; make them "
                    "equal"
                )
            target = last
        assert target is not None, "missing values were named before"
        if target > self.max_sparsity:
            raise SpecError(
                f"max_sparsity: expected at least target_sparsity, {target:g}, found {self.max_sparsity:g}; raise "
                "it or lower target_sparsity"
            )
        return target

    def _check_curve(self) -> None:
        begin, end = self.curve if self.schedule == POLYNOMIAL else (0, 1)
        if begin >= end:
            raise SpecError(
                f"sparsity_begin_step, sparsity_end_step: expected begin < end, found {begin} and {end} (left "
                "out, they are begin_step and end_step); raise the end or lower the begin"
            )
