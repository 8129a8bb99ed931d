"""What savers lack of the pruning state: the same for those in files and those in a graph that is there."""

from typing import Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from graph_masker import tf_compat
from graph_masker.masker import Masker
from graph_masker.tf_compat import SavedVariable


class State(NamedTuple):
    """What a graph holds for pruning.

    Attributes:
        own: mask, threshold and, where a criterion adds something up, its accumulator, by weight.
        shared: what there is once for all weights.
        step: name of the global step, empty where there is none.
    """

    own: Mapping[str, Tuple[SavedVariable, ...]]
    shared: Tuple[SavedVariable, ...]
    step: str


def state_of(masker: Masker) -> State:
    """Returns what a masker has added to its graph."""
    step = tf_compat.global_step(masker.graph)
    return State(
        {
            item.site.variable: tuple(tf_compat.saved_variable(variable) for variable in masker.state_of(item))
            for item in masker.masked_variables
        },
        tuple(tf_compat.saved_variable(variable) for variable in masker.shared_state),
        "" if step is None else step.op.name,
    )


def missing_state(saves: Sequence[Sequence[str]], state: State) -> Iterator[Tuple[int, List[SavedVariable]]]:
    """Yields what each op by which one saver saves is to save besides, with its number; where it is nothing, neither.

    Where a weight is saved, its mask is. What counts steps goes with the global step (`savers.include_state`).

    Args:
        saves: names of the variables that each op saves; several ops write several shards.
        state: of the graph.
    """
    held = {name for save in saves for name in save}
    counts = not state.step or state.step in held
    shared = list(state.shared) if counts else []
    for number in sorted(range(len(saves)), key=lambda number: state.step not in saves[number]):
        wanted = [item for name in saves[number] for item in state.own.get(name, ())[: None if counts else 2]]
        if wanted:
            wanted, shared = [*wanted, *shared], []
        missing = [item for item in dict.fromkeys(wanted) if item.name not in held]
        held.update(item.name for item in missing)
        if missing:
            yield number, missing
