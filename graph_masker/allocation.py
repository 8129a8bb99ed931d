"""How a target for all weights together is shared out among them, in plain numpy.

Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020, section 3: Erdos-Renyi-Kernel, after
Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity", 2018.
"""

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from graph_masker.errors import SpecError
from graph_masker.schedule import kept_entries


def erk_targets(
    shapes: Mapping[str, Tuple[int, ...]],
    target: float,
    max_sparsity: float = 1.0,
    fixed: Optional[Mapping[str, float]] = None,
) -> Dict[str, float]:
    """Returns a target for each weight, such that small weights stay dense and large ones become sparse.

    The density of a weight is in proportion to the sum of its sizes over their product: for a kernel of shape
    [kh, kw, cin, cout] to (kh + kw + cin + cout) / (kh * kw * cin * cout). A weight that would be denser than 1, or
    sparser than `max_sparsity`, stays at that bound, and the others make up for it. Densities are rounded to whole
    entries, at least one each, so that the entries kept add up to ``kept_entries(total, target)``. (Up to 2^22 entries
    `kept_entries` of a weight and its target is what it was given here; above, float32 holds sparsity less finely. And
    there are more of them where the bounds alone ask for more.)

    Args:
        shapes: of each weight by name, the fixed ones as well.
        target: fraction of zeros in all weights together, 0 <= s < 1.
        max_sparsity: no weight that is not fixed gets sparser than this fraction of zeros; at least `target`.
        fixed: targets by name that are settled. Their entries count in the total; the other weights make up for them.

    Returns:
        Fractions of zeros by name, for all of `shapes`, the fixed ones as given.

    Raises:
        SpecError: the fixed targets leave no way to reach the total.
    """
    fixed = fixed or {}
    sizes = {name: int(np.prod(shape, dtype=np.int64)) for name, shape in shapes.items()}
    targets = {name: float(fixed.get(name, target)) for name in shapes}
    free = [name for name in shapes if name not in fixed and sizes[name] > 0]
    if not free:
        return targets
    settled = sum(kept_entries(sizes[name], targets[name]) for name in shapes if name in fixed)
    budget = kept_entries(sum(sizes.values()), target) - settled
    most = np.asarray([sizes[name] for name in free], np.int64)
    # 1 - 0.7 is a little more than 0.3, and shall not cost a whole entry.
    least = np.maximum(1, np.ceil(most * (1.0 - max_sparsity) - 1e-6).astype(np.int64))
    if settled and not least.sum() <= budget <= most.sum():
        raise SpecError(
            f"allocation erk: target_sparsity {target:g} leaves {max(0, budget)} entries to the {len(free)} weights "
            f"whose sparsity no rule sets, expected {least.sum()} to {most.sum()}; change the sparsity that rules set, "
            "or exclude those weights"
        )
    weights = np.asarray([max(1, sum(shapes[name])) for name in free], np.float64)
    kept = _whole_entries(_in_proportion(weights, least, most, budget), most, budget)
    targets.update({name: 1.0 - int(count) / sizes[name] for name, count in zip(free, kept)})
    return targets


def _in_proportion(weights: Any, least: Any, most: Any, budget: int) -> Any:
    """Returns amounts in proportion to weights, within bounds, that add up to at most the budget, and nearly to it.

    Args:
        weights, least, most: above 0, shape [n].
        budget: where it is below the sum of `least`, that is returned.
    """
    # The sum rises with the scale, so halving finds it to the last bit; bounded amounts need no case of their own.
    low, high = 0.0, float(np.max(most / weights))
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(middle * weights, least, most).sum() <= budget:
            low = middle
        else:
            high = middle
    scale = high if np.clip(high * weights, least, most).sum() <= budget else low
    return np.clip(scale * weights, least, most)


def _whole_entries(amounts: Any, most: Any, budget: int) -> Any:
    """Returns whole numbers that add up to the budget: the amounts rounded down, and the largest remainders up."""
    kept = np.floor(amounts).astype(np.int64)
    left = budget - int(kept.sum())
    for index in np.argsort(kept - amounts, kind="stable"):
        if left > 0 and kept[index] < most[index]:
            kept[index] += 1
            left -= 1
    return kept
