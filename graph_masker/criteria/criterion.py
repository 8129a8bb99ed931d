"""What a criterion is: plain data and one function."""

from dataclasses import dataclass
from typing import Any, Callable, Optional


@dataclass(frozen=True)
class Criterion:
    """How entries are scored; those of lowest score go.

    Attributes:
        name: as a spec names it, and the last part of its accumulator's name.
        signed: True where a score's sign counts, False where its magnitude does.
        contribution: what one training step adds to the accumulator, given the weight and the gradient by the masked
            weight, both of the weight's shape; None where the weight itself is the score.
        averages: True where the accumulator is averaged over the steps since the last mask update, and starts anew
            then; False where it goes on adding up.
    """

    name: str
    signed: bool = False
    contribution: Optional[Callable[[Any, Any], Any]] = None
    averages: bool = False
