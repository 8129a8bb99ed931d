"""Tells what has been masked: in TensorFlow's log, and to whoever asked to be told."""

from typing import Any, Callable, Optional

import tensorflow.compat.v1 as tf

from graph_masker.plan import MaskPlan

# Called with the plan of a graph, its mode, and the RunConfig, or None outside an Estimator.
PlanCallback = Callable[[MaskPlan, str, Any], None]


def tell(plan: MaskPlan, mode: str, config: Any, on_plan: Optional[PlanCallback]) -> None:
    """Writes one line to the log and calls `on_plan`, where it is given."""
    tf.logging.info(
        "graph_masker: %s graph: %d weights masked (%d entries), %d variables left dense",
        mode,
        len(plan.sites),
        plan.entries,
        len(plan.skips),
    )
    if on_plan is not None:
        on_plan(plan, mode, config)
