"""MaskedMetaGraph: the training graph in a file, masked, with nothing else in it changed.

It is imported into a graph, which is masked as one whose gradients exist, and no session ever runs it. What comes
out is the file's own protocol buffer: nodes, collections and functions that masking has added are appended to it, and
an original node or collection that masking has touched is changed in that alone. So what TensorFlow would write
otherwise on its way out (versions, defaults of attributes, what it does not export) stays as it was.
"""

from typing import Any, FrozenSet, Iterable, List, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.attaching import hang_update, initialize_with_weights
from graph_masker.claims import claim
from graph_masker.engine import NEVER
from graph_masker.errors import SourceError
from graph_masker.files.source import one_line
from graph_masker.masker import Masker, refuse_copies
from graph_masker.plan import LAST_UPDATE_STEP, MaskPlan
from graph_masker.rewriting.metasavers import extend_savers
from graph_masker.saving.wanted import state_of
from graph_masker.spec import PruningSpec
from graph_masker.tf_compat import SavedVariable
from graph_masker.trainers import Hook, hooks_of, trains
from graph_masker.view import GraphView
from rewriters import Rule


class MaskedMetaGraph:
    """A MetaGraph that is masked in three steps: masks, the update in what trains, the MetaGraph. Nothing of it is run.

    Attributes:
        plan: what is masked.
        hooks: where the masks are updated; none before `attach`, and where the graph does not train.
    """

    def __init__(
        self, meta_graph: Any, view: GraphView, graph: Any, path: str, spec: PruningSpec, rules: Sequence[Rule]
    ) -> None:
        """Puts masks into the graph.

        Args:
            meta_graph: a MetaGraphDef; `definition` makes it the masked one.
            view: of it.
            graph: what `imported` made of it; it is masked.
            path: of its file, for messages.
            spec: what to mask, and when.
            rules: what is known of op types.

        Raises:
            PlanError: nothing is to be masked, or gradients cannot be matched with certainty.
        """
        self._meta_graph, self._view, self._graph, self._path = meta_graph, view, graph, path
        self._before = tf_compat.exported_collections(graph)
        self.hooks: Tuple[Hook, ...] = ()
        refuse_copies(graph)
        claim(graph)
        self._masker = Masker(graph, spec, rules)
        losses = [item for item in graph.get_collection(tf.GraphKeys.LOSSES) if isinstance(item, tf.Tensor)]
        self.plan = self._masker.mask(losses=losses, strict=True)

    def attach(self) -> None:
        """Makes what trains update the masks, and what initializes weights initialize them.

        Raises:
            SourceError: it trains in a way in which masks could not be updated.
        """
        self.hooks = _attach(self._masker, self._path)
        initialize_with_weights(self._masker)

    def state(self) -> List[Tuple[SavedVariable, int]]:
        """Returns the variables that pruning needs by now, with the value that each starts from."""
        masks = {variable.op.name for variable in self._masker.masks.values()}
        state = []
        for variable in self._masker.state_variables:
            name = variable.op.name
            value = 1 if name in masks else NEVER if name == LAST_UPDATE_STEP else 0
            state.append((tf_compat.saved_variable(variable), value))
        return state

    def definition(self) -> Any:
        """Returns the masked MetaGraphDef, whose savers know the masks; once, after `attach`."""
        _splice(self._meta_graph, self._graph, self._before)
        extend_savers(self._meta_graph, self._view, state_of(self._masker), self._path)
        return self._meta_graph


def imported(meta_graph: Any, path: str) -> Any:
    """Returns a graph that holds a MetaGraph.

    Raises:
        SourceError: it is damaged, or has an op of a library that TensorFlow does not come with.
    """
    unknown = tf_compat.unknown_op(meta_graph)
    if unknown is not None:
        raise SourceError(
            f"{path}: expected ops of TensorFlow's own, found '{unknown.name}' of type {unknown.op}; it comes from a "
            "library, and none is loaded for a file: use auto_mask in the model's own code"
        )
    try:
        return tf_compat.graph_of_meta_graph(meta_graph)
    except Exception as error:  # damaged collections make TensorFlow and protobuf raise whatever happens to go wrong
        raise SourceError(f"{path}: cannot be imported: {one_line(error)}; export the graph anew") from error


def _attach(masker: Masker, path: str) -> Tuple[Hook, ...]:
    """Hangs the mask update on the ops that train; returns where."""
    weights = [item.weight for item in masker.masked_variables]
    hooks = hooks_of(masker.graph, weights, _gradient_ops(masker.plan))
    if not hooks and trains(masker.graph):
        raise SourceError(
            f"{path}: expected an optimizer that writes a masked weight, found one that writes others only, so that "
            "masks would never be updated"
        )
    for hook in hooks:
        hang_update(masker, hook)
    return tuple(hooks)


def _gradient_ops(plan: MaskPlan) -> FrozenSet[str]:
    """Returns ops that are known to be autodiff's: those that lead from the masked weights to their gradients."""
    found = {consumer.op for site in plan.sites for consumer in site.consumers if consumer.backward}
    for site in plan.sites:
        found.update(gradient.result.partition(":")[0] for gradient in site.gradients)
    return frozenset(found)


def _splice(result: Any, graph: Any, before: Any) -> None:
    """Puts into a MetaGraph what masking has changed in a graph since its collections were exported."""
    masked = graph.as_graph_def()
    own = {node.name: node for node in result.graph_def.node}
    for node in masked.node:
        if node.name not in own:
            new = result.graph_def.node.add()
            new.CopyFrom(node)
            # As exported MetaGraphs have it. TensorFlow would do the same for every op, which takes long.
            shapes = [output.shape.as_proto() for output in graph.get_operation_by_name(node.name).outputs]
            if shapes:
                new.attr["_output_shapes"].list.shape.extend(shapes)
        elif _inputs(node) != _inputs(own[node.name]):
            own[node.name].input[:] = node.input
    functions = {function.signature.name for function in result.graph_def.library.function}
    for function in masked.library.function:
        if function.signature.name not in functions:
            result.graph_def.library.function.add().CopyFrom(function)
    _splice_collections(result, before, tf_compat.exported_collections(graph))
    _list_ops(result)


def _inputs(node: Any) -> Tuple[List[str], Set[str]]:
    data = [text[: -len(":0")] if text.endswith(":0") else text for text in node.input if not text.startswith("^")]
    return data, {text for text in node.input if text.startswith("^")}


def _splice_collections(result: Any, before: Any, after: Any) -> None:
    for key, collection in after.collection_def.items():
        if key not in before.collection_def:
            result.collection_def[key].CopyFrom(collection)
            continue
        kind = collection.WhichOneof("kind")
        known, new = (list(getattr(item.collection_def[key], kind).value) for item in (before, after))
        if known == new:
            continue
        own = list(getattr(result.collection_def[key], kind).value)
        # What has not changed keeps the file's own bytes, where they can be told apart.
        kept = [(mine if same == item else item) for mine, same, item in zip(own, known, new)]
        merged = [*kept, *new[len(known) :]] if len(own) == len(known) else new
        values = getattr(result.collection_def[key], kind).value
        del values[:]
        values.extend(merged)


def _list_ops(result: Any) -> None:
    """Adds to the list of the ops used, where the MetaGraph has one: importers go by it."""
    listed = result.meta_info_def.stripped_op_list.op
    if not listed:
        return
    used: Set[str] = set(_op_types(result.graph_def.node))
    for function in result.graph_def.library.function:
        used.update(_op_types(function.node_def))
    for definition in tf_compat.op_definitions(used - {item.name for item in listed}).values():
        listed.add().CopyFrom(definition)


def _op_types(nodes: Iterable[Any]) -> Iterable[str]:
    return (str(node.op) for node in nodes)
