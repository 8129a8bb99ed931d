"""From pairs of builds to medians, shares and outcomes."""

from statistics import median
from typing import Dict, List, NamedTuple, Sequence, Tuple

from benchmarks.budgets import Budget, Outcome
from benchmarks.rewriting.measuring import PHASES, Pair, missing_places
from benchmarks.rewriting.models import Model

SHARE = Budget("share", "share: added / building the graph as it is", 0.08, "{:.1%}")
ANALYSIS = Budget("analysis", "share of the analysis (view, sites, plan)", 0.025, "{:.1%}")
GROWTH = Budget("growth", "growth: added per op, largest graph over smallest", 1.2, "{:.2f}")
# Sites per op differ from model to model; what every op is looked at for should not.
ANALYSIS_GROWTH = Budget("analysis growth", "growth of the analysis alone", 1.2, "{:.2f}")
# Verification is no part of it; in the share of all it counts.
ANALYSIS_PHASES = ("view", "sites", "plan")


class Cost(NamedTuple):
    """What masking one model costs. Seconds are CPU seconds; every figure is the median over the pairs.

    Attributes:
        model, title: of the model.
        ops, sites, ops_added: ops of the graph as it is, masked weights, and ops that masking adds.
        dense_seconds: building the graph as it is.
        added_seconds: what masking adds, timed where it is spent.
        difference_seconds: the masked build less the dense one; the same by a noisier way.
        shares: of the dense build, by phase.
        share, share_range: added / dense, its median, least and greatest.
        analysis, analysis_seconds: the share and the seconds of view, sites and plan.
        garbage: seconds of the garbage collector in the dense and in the masked build.
        pairs: what all this was computed from.
    """

    model: str
    title: str
    ops: int
    sites: int
    ops_added: int
    dense_seconds: float
    added_seconds: float
    difference_seconds: float
    shares: Dict[str, float]
    share: float
    share_range: Tuple[float, float]
    analysis: float
    analysis_seconds: float
    garbage: Tuple[float, float]
    missing: Tuple[str, ...]
    pairs: Tuple[Pair, ...]


def summarize(model: Model, pairs: Sequence[Pair]) -> Cost:
    """Returns the medians over the pairs of one model."""
    phases = [pair.phases for pair in pairs]
    dense = [pair.dense.seconds for pair in pairs]
    totals = [sum(found.values()) for found in phases]
    shares = [total / seconds for total, seconds in zip(totals, dense)]
    analysis = [sum(found[name] for name in ANALYSIS_PHASES) for found in phases]
    first = pairs[0]
    return Cost(
        model=model.name,
        title=model.title,
        ops=first.dense.ops,
        sites=first.masked.sites,
        ops_added=first.masked.ops - first.dense.ops,
        dense_seconds=median(dense),
        added_seconds=median(totals),
        difference_seconds=median(pair.masked.seconds - pair.dense.seconds for pair in pairs),
        shares={name: median(found[name] / seconds for found, seconds in zip(phases, dense)) for name in PHASES},
        share=median(shares),
        share_range=(min(shares), max(shares)),
        analysis=median(spent / seconds for spent, seconds in zip(analysis, dense)),
        analysis_seconds=median(analysis),
        garbage=(median(pair.dense.garbage for pair in pairs), median(pair.masked.garbage for pair in pairs)),
        missing=tuple(missing_places(pairs)),
        pairs=tuple(pairs),
    )


def outcomes(costs: Sequence[Cost]) -> List[Outcome]:
    """Compares every model with the budgets, and the largest with the smallest where there are two."""
    found = [Outcome(SHARE, cost.title, cost.share) for cost in costs]
    found += [Outcome(ANALYSIS, cost.title, cost.analysis) for cost in costs]
    smallest, largest = min(costs, key=lambda cost: cost.ops), max(costs, key=lambda cost: cost.ops)
    if largest.ops > smallest.ops:
        subject = f"{largest.title} over {smallest.title}"
        ops = largest.ops / smallest.ops
        found.append(Outcome(GROWTH, subject, largest.added_seconds / smallest.added_seconds / ops))
        found.append(Outcome(ANALYSIS_GROWTH, subject, largest.analysis_seconds / smallest.analysis_seconds / ops))
    return found
