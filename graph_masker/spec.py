"""PruningSpec: how sparse, when, and which weights. Validates itself; needs no TensorFlow."""

import json
import math
import os
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, Mapping, Tuple, Union

import yaml

from graph_masker.errors import SpecError

# The step of the last update is kept as int32, as tf.contrib.model_pruning keeps it.
_LAST_STEP = 2**31 - 1


@dataclass(frozen=True)
class PruningSpec:
    """A pruning schedule and the weights it applies to.

    Attributes:
        target_sparsity: fraction of zeros in each masked weight from `end_step` on, 0 <= s < 1.
        begin_step: global step of the first mask update, at least 0.
        end_step: global step of the last mask update, above `begin_step`; the target is reached there.
        frequency: global steps between two updates, at least 1.
        initial_sparsity: fraction of zeros at `begin_step`, 0 <= s < 1.
        exponent: of the polynomial schedule, above 0; 3 is Zhu & Gupta (2017), equation 1.
        include: regular expressions, searched in variable names; where given, only matches are masked.
        exclude: regular expressions; matching variables stay dense, even if included.
        also: families of ops masked only on request, such as ``depthwise``.

    Raises:
        SpecError: a value is out of range or of the wrong kind; the message says what is allowed.
    """

    target_sparsity: float
    begin_step: int
    end_step: int
    frequency: int = 10
    initial_sparsity: float = 0.0
    exponent: float = 3.0
    include: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    also: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("target_sparsity", "initial_sparsity"):
            value = _number(name, getattr(self, name))
            if not 0.0 <= value < 1.0:
                raise SpecError(f"{name}: expected a fraction of zeros with 0 <= s < 1, found {value:g}")
            object.__setattr__(self, name, value)
        for name, least in (("begin_step", 0), ("end_step", 1), ("frequency", 1)):
            object.__setattr__(self, name, _integer(name, getattr(self, name), least))
        exponent = _number("exponent", self.exponent)
        if not 0.0 < exponent < math.inf:
            raise SpecError(f"exponent: expected a number above 0, found {exponent:g}")
        object.__setattr__(self, "exponent", exponent)
        if self.begin_step >= self.end_step:
            raise SpecError(
                f"begin_step, end_step: expected begin_step < end_step, found {self.begin_step} and "
                f"{self.end_step}; raise end_step or lower begin_step"
            )
        for name in ("include", "exclude", "also"):
            object.__setattr__(self, name, _strings(name, getattr(self, name)))
        for name in ("include", "exclude"):
            for pattern in getattr(self, name):
                _check_pattern(name, pattern)

    def to_dict(self) -> Dict[str, Any]:
        """Returns the fields as plain values; `from_dict` takes them back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PruningSpec":
        """Builds a spec from a mapping of field names to values.

        Raises:
            SpecError: a key is unknown, a required one is missing or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = [str(key) for key in values if key not in known]
        if unknown:
            raise SpecError(f"unknown key {', '.join(sorted(unknown))}: allowed are {', '.join(known)}")
        missing = [name for name in ("target_sparsity", "begin_step", "end_step") if name not in values]
        if missing:
            raise SpecError(f"missing {', '.join(missing)}: a spec needs target_sparsity, begin_step, end_step")
        return cls(**dict(values))

    @classmethod
    def from_file(cls, path: Union[str, "os.PathLike[str]"]) -> "PruningSpec":
        """Reads a spec from a YAML or JSON file that holds one mapping.

        Raises:
            SpecError: the file cannot be read or does not hold a valid spec; the message names the file.
        """
        name = os.fspath(path)
        try:
            with open(name, encoding="utf-8") as stream:
                values = json.load(stream) if name.endswith(".json") else yaml.safe_load(stream)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise SpecError(f"{name}: cannot be read as a spec: {reason}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise SpecError(f"{name}: expected one YAML or JSON mapping: {reason}") from error
        if not isinstance(values, dict):
            raise SpecError(f"{name}: expected one mapping of spec keys, found {type(values).__name__}")
        try:
            return cls.from_dict(values)
        except SpecError as error:
            raise SpecError(f"{name}: {error}") from error


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
        raise SpecError(f"{name}: expected a number, found {value!r}")
    return float(value)


def _integer(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SpecError(f"{name}: expected a whole number of steps, found {value!r}")
    result = int(value.__index__())
    if result < least:
        raise SpecError(f"{name}: expected at least {least}, found {result}")
    if result > _LAST_STEP:
        raise SpecError(f"{name}: expected at most {_LAST_STEP}, found {result}")
    return result


def _strings(name: str, value: Any) -> Tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise SpecError(f"{name}: expected text or a list of texts, found {value!r}")
    return tuple(value)


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise SpecError(f"{name}: {pattern!r} is not a regular expression: {error}") from error
