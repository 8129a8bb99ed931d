"""Rules of a spec: what differs for weights whose name a regular expression finds."""

from dataclasses import dataclass, fields
from typing import Any, Dict, Mapping, Optional, Tuple

from graph_masker.errors import SpecError
from graph_masker.spec import checks
from graph_masker.spec.settings import CRITERIA
from graph_masker.spec.structure import Structure, parse_structure, plain_structure

_EXAMPLE = "{match: conv1, sparsity: 0.5}"


@dataclass(frozen=True)
class Rule:
    """What differs, from the rest of the spec, for some weights. The first rule that matches a weight applies.

    Attributes:
        match: regular expression, searched in the variable's name.
        sparsity: target for these weights, a fraction of zeros, 0 <= s < 1; None: the spec's.
        exclude: these weights stay dense.
        structure: None: the spec's. The plain forms are taken, too.
        criterion: None: the spec's.
        group: under global allocation, the weights that share a threshold; see `WeightSpec`.
        optional: it is no mistake if no weight's name matches.

    Raises:
        SpecError: a value is out of range, or the rule excludes and says more.
    """

    match: str
    sparsity: Optional[float] = None
    exclude: bool = False
    structure: Optional[Structure] = None
    criterion: Optional[str] = None
    group: Optional[str] = None
    optional: bool = False

    def __post_init__(self) -> None:
        checks.pattern("match", self.match)
        checks.flag("exclude", self.exclude)
        checks.flag("optional", self.optional)
        if self.sparsity is not None:
            object.__setattr__(self, "sparsity", checks.sparsity("sparsity", self.sparsity))
        if self.structure is not None:
            object.__setattr__(self, "structure", parse_structure("structure", self.structure))
        if self.criterion is not None:
            checks.choice("criterion", self.criterion, CRITERIA)
        if self.group is not None and not (isinstance(self.group, str) and self.group):
            raise SpecError(f"group: expected a name, found {checks.shown(self.group)}")
        told = [name for name in ("sparsity", "structure", "criterion", "group") if getattr(self, name) is not None]
        if self.exclude and told:
            raise SpecError(f"exclude: weights left dense take no {', '.join(told)}; remove one or the other")

    def to_dict(self) -> Dict[str, Any]:
        """Returns what the rule says as plain values; `from_dict` takes them back."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.structure is not None:
            plain["structure"] = plain_structure(self.structure)
        return {name: value for name, value in plain.items() if value is not None and value is not False}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Rule":
        """Builds a rule from a mapping of field names to plain values.

        Raises:
            SpecError: a key is unknown, `match` is missing or a value is out of range.
        """
        checks.known_keys("", values, [field.name for field in fields(cls)])
        if "match" not in values:
            raise SpecError("missing match: a rule needs a regular expression for the names of its weights")
        return cls(**dict(values))


def parse_rules(name: str, value: Any) -> Tuple[Rule, ...]:
    """Returns rules from a list of rules or of their plain forms.

    Raises:
        SpecError: the value is no such list; the message says which rule is wrong.
    """
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{name}: expected a list of rules, such as [{_EXAMPLE}], found {checks.shown(value)}")
    rules = []
    for index, item in enumerate(value):
        try:
            if not isinstance(item, (Rule, dict)):
                raise SpecError(f"expected a mapping such as {_EXAMPLE}, found {checks.shown(item)}")
            rules.append(item if isinstance(item, Rule) else Rule.from_dict(item))
        except SpecError as error:
            raise SpecError(f"{name}[{index}]: {error}") from error
    return tuple(rules)
