"""One update of all masks of a net, due and not due, and the ops that it takes."""

from typing import Any, Callable, Dict, List, Sequence

import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.engine import sparseml, weights
from benchmarks.engine.nets import Shape
from benchmarks.engine.specs import NEVER, SPARSITY, contribs_pruning, global_spec, spec
from benchmarks.engine.turns import by_turns

# Weights of the smaller of the two graphs whose difference tells the ops per weight.
FEW = 10

Run = Callable[[], object]


def measure(shapes: Sequence[Shape], rounds: int, off_rounds: int) -> Dict[str, Any]:
    """Measures the updates of weights of these shapes.

    Args:
        shapes: one per weight.
        rounds: how often each engine updates all masks.
        off_rounds: how often each is asked when no update is due.

    Returns:
        seconds of one update and of one that is not due, sparsity reached, and ops added per weight.
    """
    return {
        "due": _due(shapes, rounds),
        "off": _off_schedule(shapes, off_rounds),
        "ops": {"ours": ops_per_weight(_our_ops, shapes), "contrib": ops_per_weight(_contribs_ops, shapes)},
    }


def _due(shapes: Sequence[Shape], rounds: int) -> Dict[str, Any]:
    engines = {"ours": weights.ours(shapes, spec(0, 1)), "contrib": weights.contribs(shapes)}
    asked = global_spec()
    if asked is not None:
        engines["global"] = weights.ours(shapes, asked)
    if sparseml.is_installed():
        engines["sparseml"] = sparseml.masked(shapes)
    runs: Dict[str, Run] = {name: _run(made, made.update) for name, made in engines.items()}
    by_turns(runs, 2)
    seconds = by_turns(runs, rounds)
    sparsity = {name: made.check_sparsity(SPARSITY) for name, made in engines.items()}
    for made in engines.values():
        made.session.close()
    return {"seconds": seconds, "sparsity": sparsity}


def _off_schedule(shapes: Sequence[Shape], rounds: int) -> Dict[str, Any]:
    ours = weights.ours(shapes, spec(NEVER, 1))
    contrib = weights.contribs(shapes, begin_step=NEVER, conditional=True)
    train, update = _run(contrib, contrib.train), _run(contrib, contrib.update)
    runs: Dict[str, Run] = {
        "ours alone": _run(ours, ours.train),
        "ours": _run(ours, [ours.train, ours.update]),
        "contrib alone": train,
        # As its hook does: after each step, in a run of its own.
        "contrib": lambda: (train(), update()),
    }
    by_turns(runs, 20)
    seconds = by_turns(runs, rounds)
    for made in (ours, contrib):
        made.check_sparsity(0.0)
        made.session.close()
    return {"seconds": seconds}


def _run(made: weights.Pruned, fetches: Any) -> Run:
    return lambda: made.session.run(fetches)


def ops_per_weight(added: Callable[[Sequence[Shape]], int], shapes: Sequence[Shape]) -> float:
    """Returns the ops that each further weight adds: between a graph of `FEW` weights and one of all.

    Args:
        added: tells how many ops an update adds to a graph with weights of the given shapes.
        shapes: of all weights, more than `FEW`.
    """
    return (added(shapes) - added(shapes[:FEW])) / (len(shapes) - FEW)


def _our_ops(shapes: Sequence[Shape]) -> int:
    counts: List[int] = []
    for with_update in (False, True):
        with tf.Graph().as_default() as graph:
            for weight in weights.make_weights(shapes):
                weights.consume(weight)
            train = tf.assign_add(tf.train.get_or_create_global_step(), 1) if with_update else None
            # Without a global step graph_masker masks and attaches no update.
            graph_masker.mask_graph(graph, spec(0, 1), train_op=train)
            # contrib's update comes without summaries, too; ours are added with it.
            counts.append(sum("/summaries/" not in op.name for op in graph.get_operations()))
    return counts[1] - counts[0]


def _contribs_ops(shapes: Sequence[Shape]) -> int:
    with tf.Graph().as_default() as graph:
        tf.train.get_or_create_global_step()
        weights.mask_by_contrib(weights.make_weights(shapes))
        before = len(graph.get_operations())
        contribs_pruning(0, 1).conditional_mask_update_op()
        return len(graph.get_operations()) - before
