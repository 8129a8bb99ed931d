"""Criteria in numpy: what a recorded training is to have added up, and the masks and thresholds that follow."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.schedule import kept_entries, sparsity_at, update_steps
from graph_masker.spec import PruningSpec
from tests.engine.nets import BATCH, WEIGHTS, Net, Values, batch_of, mask_of
from tests.helpers.running import single_threaded, variables_by_name


@dataclass(frozen=True)
class Reference:
    """A criterion, as short as it can be said.

    Attributes:
        contribution: of the weight and of the gradient by the masked weight, at one step.
        averaged: over the steps since the last update, and begun anew by it.
        previous: whether the weight and the gradient are those before the optimizer's step.
    """

    contribution: Callable[[Any, Any], Any]
    averaged: bool
    previous: bool = True

    def run(self, net: Net, spec: PruningSpec, recorded: List[Values]) -> List[Values]:
        """Returns accumulators, masks, thresholds and the count after each step.

        Args:
            net: what was trained.
            spec: the schedule.
            recorded: all variables before the first step and after each; only weights and masks are looked at.
        """
        gradients = gradients_of_the_plain_net(net, recorded)
        sums: Dict[str, Any] = {}
        masks: Dict[str, Any] = {}
        thresholds: Dict[str, Any] = {}
        count, found = 0, []
        for step in range(1, len(recorded)):
            count += 1
            at = step - 1 if self.previous else step
            for name in WEIGHTS:
                weight, gradient = recorded[at][name], gradients[step - 1][name]
                kind = np.float64 if weight.dtype == np.float64 else np.float32
                added = self.contribution(weight.astype(kind), gradient.astype(kind))
                sums[name] = sums.get(name, np.zeros_like(added)) + added
            if step in update_steps(spec):
                for name in WEIGHTS:
                    kind = sums[name].dtype.type
                    scores = sums[name] / kind(count) if self.averaged else sums[name]
                    kept = kept_entries(sums[name].size, sparsity_at(spec, step))
                    masks[name], threshold = best(sums[name], kept)
                    threshold = threshold / kind(count) if self.averaged else threshold
                    if spec.threshold_decay:
                        decay, previous = spec.threshold_decay, thresholds.get(name, kind(0))
                        threshold = threshold * kind(1 - decay) + previous * kind(decay)
                        masks[name] = scores >= threshold
                    thresholds[name] = threshold
                    if self.averaged:
                        sums[name] = np.zeros_like(sums[name])
                count = 0 if self.averaged else count
            found.append({})
            for name in WEIGHTS:
                kind = recorded[0][name].dtype
                found[-1][f"{name} sum"] = sums[name]
                found[-1][f"{name} mask"] = masks.get(name, np.ones(sums[name].shape)).astype(kind)
                found[-1][f"{name} threshold"] = np.asarray(thresholds.get(name, 0.0), kind)
            if self.averaged:
                found[-1]["count"] = np.int32(count)
        return found


def best(scores: Any, kept: int) -> Any:
    """Returns ones at the highest scores, of equal ones at those of lowest index, and the last score that stays."""
    flat = scores.reshape(-1)
    order = sorted(range(flat.size), key=lambda index: (-flat[index], index))
    mask = np.zeros(flat.size)
    mask[order[:kept]] = 1
    return mask.reshape(scores.shape), flat[order[kept - 1]]


def gradients_of_the_plain_net(net: Net, recorded: List[Values]) -> List[Values]:
    """Returns the gradients by the masked weights at each step, as the net without graph_masker has them.

    It gets `mask * weight` for its weights; the penalty, which reads the raw ones, has no part in it.
    """
    with tf.Graph().as_default() as graph:
        loss, _ = net.loss(tf.placeholder(tf.float32, BATCH, name="batch"))
        variables = variables_by_name(graph)
        gradients = dict(zip(WEIGHTS, tf.gradients(loss, [variables[name] for name in WEIGHTS])))
        initializers = {name: variable.initializer for name, variable in variables.items()}
        found = []
        with single_threaded(graph) as session:
            for step, values in enumerate(recorded[:-1], 1):
                feed = {op.inputs[1]: values[name] for name, op in initializers.items()}
                for name in WEIGHTS:
                    feed[initializers[name].inputs[1]] = values[mask_of(name)] * values[name]
                session.run(list(initializers.values()), feed)
                found.append(session.run(gradients, {"batch:0": batch_of(step)}))
        return found


MOVEMENT = Reference(lambda weight, gradient: -weight * gradient, averaged=False)
TAYLOR = Reference(lambda weight, gradient: np.square(weight * gradient), averaged=True)
REFERENCES = {"movement": MOVEMENT, "taylor": TAYLOR}
