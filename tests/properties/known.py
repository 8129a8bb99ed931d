"""What is known to fail, so that random graphs without it are still searched. `test_shrunk` shows each failure."""

from dataclasses import fields
from typing import Any, Iterator

from fixtures.random_graphs import Cond, Layer, Loop, Model


def is_known_to_fail(model: Model) -> bool:
    """Tells whether a model holds what `test_shrunk` shows to fail."""
    layers = list(_layers(model, False))
    averaged_rnn = model.kind == "resource" and model.averages == "before" and any(_is_rnn(x) for x, _ in layers)
    ref_in_cond = model.kind == "ref" and any(layer.read == "read_value" and inside for layer, inside in layers)
    return averaged_rnn or ref_in_cond


def _is_rnn(layer: Layer) -> bool:
    return layer.op.startswith(("dynamic", "static"))


def _layers(part: Any, inside: bool) -> Iterator[Any]:
    if isinstance(part, Layer):
        yield part, inside
        return
    for field in fields(part):
        value = getattr(part, field.name)
        for item in value if isinstance(value, tuple) else ():
            yield from _layers(item, inside or isinstance(part, (Cond, Loop)))
