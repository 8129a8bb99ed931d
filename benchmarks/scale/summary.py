"""From seconds to ratios, and from these to outcomes."""

from statistics import median
from typing import Any, List, Mapping, NamedTuple, Sequence

from benchmarks.budgets import Outcome
from benchmarks.engine.nets import Net
from benchmarks.engine.specs import FREQUENCY
from benchmarks.engine.summary import STEP, TRAINING, Ratio, blocks, off_schedule, paired
from benchmarks.rewriting.summary import SHARE


class Cost(NamedTuple):
    """What masking costs on so many devices; figures are medians.

    Attributes:
        net, title: of the net.
        replicas: how many.
        masks: on all of them.
        build_seconds: of the graph as it is.
        added: seconds that masking adds to that.
        share: the two, as a ratio.
        step_seconds: of a step of all replicas, dense.
        step: steps without an update, over dense.
        training: blocks of `FREQUENCY` steps, one update in each, over dense.
        update_seconds: what a step with an update takes longer.
    """

    net: str
    title: str
    replicas: int
    masks: int
    build_seconds: float
    added: float
    share: float
    step_seconds: float
    step: Ratio
    training: Ratio
    update_seconds: float

    @property
    def subject(self) -> str:
        """The net and the number of replicas, in words."""
        return f"{self.title}, {self.replicas} replica{'s' if self.replicas > 1 else ''}"


def summarize(net: Net, replicas: int, found: Mapping[str, Any]) -> Cost:
    """Returns the cost on so many devices from what was measured."""
    building, training = found["building"], found["training"]
    dense, masked = training["dense"], training["masked"]
    added = median(after - before for before, after in zip(building["dense"], building["masked"]))
    share = median(after / before - 1 for before, after in zip(building["dense"], building["masked"]))
    return Cost(
        net=net.name,
        title=net.title,
        replicas=replicas,
        masks=found["masks"],
        build_seconds=median(building["dense"]),
        added=added,
        share=share,
        step_seconds=median(dense),
        step=paired(off_schedule(masked), off_schedule(dense)),
        training=paired(blocks(masked), blocks(dense)),
        update_seconds=median(masked[FREQUENCY - 1 :: FREQUENCY]) - median(off_schedule(masked)),
    )


def outcomes(costs: Sequence[Cost]) -> List[Outcome]:
    """Returns the outcomes, each budget over all numbers of replicas."""
    found = [Outcome(SHARE, cost.subject, cost.share) for cost in costs]
    found += [Outcome(STEP, cost.subject, cost.step.median) for cost in costs]
    return found + [Outcome(TRAINING, cost.subject, cost.training.median) for cost in costs]
