"""What is trained, on what, and how: all as plain data, the same for dense and pruned nets."""

from typing import Any, Dict, List, NamedTuple, Sequence

SEEDS = (1, 2, 3)


class Distortion(NamedTuple):
    """How far each image's digit is moved, at random and uniformly.

    Attributes:
        rotation: at most so many degrees, either way.
        smallest: least factor of scale.
        largest: greatest factor of scale.
        shift: at most so many pixels, either way, along each axis.
    """

    rotation: float = 10.0
    smallest: float = 0.9
    largest: float = 1.1
    shift: float = 2.0


class Training(NamedTuple):
    """One budget for all.

    Attributes:
        steps: of training.
        batch: images per step.
        rate: learning rate of the first step; it falls to zero along half a cosine.
        momentum: of the optimizer.
        weight_decay: of all convolutions but depthwise ones, as the net's own arg scope applies it.
        batch_norm_decay: of the moving statistics; the arg scope's own is for trainings of a million steps.
        begin: first mask update, as a fraction of the steps.
        end: last mask update, as a fraction of the steps.
        updates: mask updates between these.
        exponent: of the schedule.
    """

    steps: int = 1000
    batch: int = 32
    rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 4e-5
    batch_norm_decay: float = 0.98
    begin: float = 0.1
    end: float = 0.6
    updates: int = 50
    exponent: float = 3.0


class Case(NamedTuple):
    """A net: its depth multiplier, and the sparsity of its masked weights, 0 where it is dense."""

    depth: float
    sparsity: float = 0.0

    @property
    def name(self) -> str:
        """For files."""
        return f"depth{self.depth:g}-" + (f"pruned{100 * self.sparsity:g}" if self.sparsity else "dense")

    @property
    def title(self) -> str:
        """For readers."""
        return f"{self.depth:g}, " + (f"pruned to {100 * self.sparsity:g}%" if self.sparsity else "dense")


class Run(NamedTuple):
    """One training.

    Attributes:
        case: the net.
        seed: of initial weights, order of images and distortions.
        training: its budget.
        distortion: of the images.
        scored: ``held-out``: trained on all training digits; ``validation``: on four fifths, scored on the last.
        views: distorted images of each scored digit.
    """

    case: Case
    seed: int
    training: Training
    distortion: Distortion = Distortion()
    scored: str = "held-out"
    views: int = 2

    @property
    def name(self) -> str:
        """For files: one per run of a study."""
        chosen = f"-rate{self.training.rate:g}" if self.scored == "validation" else ""
        return f"{self.scored}-{self.case.name}{chosen}-seed{self.seed}"

    def as_dict(self) -> Dict[str, Any]:
        """Returns plain values for JSON; a cached result counts only where they are equal."""
        parts = {key: value._asdict() if hasattr(value, "_asdict") else value for key, value in self._asdict().items()}
        return {key: dict(value) if isinstance(value, dict) else value for key, value in parts.items()}

    @classmethod
    def from_dict(cls, values: Dict[str, Any]) -> "Run":
        """Reverses `as_dict`."""
        made = {"case": Case, "training": Training, "distortion": Distortion}
        return cls(**{key: made[key](**value) if key in made else value for key, value in values.items()})


class Study(NamedTuple):
    """All runs: first those that choose the learning rate, then those that are compared.

    Attributes:
        cases: that are compared.
        seeds: of each.
        rates: to choose from.
        chosen_on: cases that each rate is tried on, once.
        training: budget, but for the rate.
    """

    cases: Sequence[Case] = (
        *(Case(1.0), Case(0.5), Case(0.25)),
        *(Case(1.0, 0.5), Case(1.0, 0.75), Case(1.0, 0.9), Case(1.0, 0.95)),
    )
    seeds: Sequence[int] = SEEDS
    rates: Sequence[float] = (0.01, 0.02, 0.04)
    chosen_on: Sequence[Case] = (Case(0.5), Case(0.5, 0.9))
    training: Training = Training()

    def choosing(self) -> List[Run]:
        """Returns the runs that choose the rate, which see no held-out digit."""
        return [
            Run(case, self.seeds[0], self.training._replace(rate=rate), scored="validation")
            for rate in self.rates
            for case in self.chosen_on
        ]

    def compared(self, rate: float) -> List[Run]:
        """Returns the runs that are compared, seed by seed, so that an early look has every case."""
        training = self.training._replace(rate=rate)
        return [Run(case, seed, training) for seed in self.seeds for case in self.cases]
