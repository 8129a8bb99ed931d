"""What is known to fail, so that random graphs without it are still searched. `test_shrunk` shows each failure."""

from dataclasses import fields
from typing import Any, Iterator, Tuple

from fixtures.random_graphs import Cond, Layer, Loop, Model

# The variable itself, not a value read before, enters the loop or cond.
_READS_INSIDE = ("read_value", "controlled")


def is_known_to_fail(model: Model) -> bool:
    """Tells whether a model holds what `test_shrunk` shows to fail."""
    layers = list(_layers(model, inside=False))
    if model.kind == "resource":
        read_raw = model.averages == "before" or model.decay_by_hand or model.summaries
        return read_raw and any(layer.op.endswith(("_lstm", "_gru")) for layer, _ in layers)
    return any(inside and layer.read in _READS_INSIDE for layer, inside in layers)


def _layers(part: Any, inside: bool) -> Iterator[Tuple[Layer, bool]]:
    """Yields all layers of a part or model, and whether each lies in a loop or cond."""
    if isinstance(part, Layer):
        yield part, inside
        return
    for field in fields(part):
        value = getattr(part, field.name)
        for item in value if isinstance(value, tuple) else ():
            yield from _layers(item, inside or isinstance(part, (Cond, Loop)))
