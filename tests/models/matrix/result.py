"""What a model's run has shown, as plain data."""

import json
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple


class Costs(NamedTuple):
    """What masking adds to building the training graph. CPU seconds.

    Attributes:
        ops: of the model's own training graph.
        build: building that.
        rewrite: what masking adds.
    """

    ops: int
    build: float
    rewrite: float

    @property
    def share(self) -> float:
        """Rewrite as a fraction of build."""
        return self.rewrite / self.build


class Result(NamedTuple):
    """One model's run. Counts are of its training graph.

    Attributes:
        name: the model's.
        ops: op types of weights by the number of ops of that type, gradients included.
        sites: number of masked weights.
        shared: how many of them are read by more than one op.
        entries: of the masked weights.
        parameters: entries of all trainable variables.
        skips: reasons, and how many variables were left dense for each.
        checks: names of the checks it passed.
        seconds: CPU time of the whole run.
        gigabytes: the most memory that the process had.
        costs: None where they were not measured.
    """

    name: str
    ops: Dict[str, int]
    sites: int
    shared: int
    entries: int
    parameters: int
    skips: Dict[str, int]
    checks: Tuple[str, ...]
    seconds: float = 0.0
    gigabytes: float = 0.0
    costs: Optional[Costs] = None

    def write(self, path: Path) -> None:
        """Writes the result as JSON; `read` takes it back."""
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {**self._asdict(), "costs": self.costs._asdict() if self.costs else None}
        path.write_text(json.dumps(plain, indent=2) + "\n")


def read(path: Path) -> Result:
    """Returns a result that has been written."""
    plain = json.loads(path.read_text())
    costs = Costs(**plain.pop("costs")) if plain["costs"] else plain.pop("costs")
    return Result(**{**plain, "checks": tuple(plain["checks"])}, costs=costs)
