"""Finds what autodiff made of a weight's consumers, in a graph that already holds gradients.

    y  = Conv2D(x, w)                         forward
    dx = Conv2DBackpropInput(w, dy)           backward read of the weight: moves to the masked weight
    dw = Conv2DBackpropFilter(x, dy)          the weight's gradient: is multiplied by the mask where it leaves autodiff

Nothing is guessed: an op of the right type that does not fit is an op that could not be matched.
"""

from collections import Counter
from typing import Dict, FrozenSet, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from graph_masker.sites.effects import is_write
from graph_masker.view import PLAIN_READS, Edge, GraphView, OpName, TensorRef, variable_behind
from rewriters import WeightRule

_CONSTANT_CARRIERS = frozenset({"Switch", "RefSwitch", "Identity", "RefIdentity"})


class Match(NamedTuple):
    """One consumer and what one gradient call made of it.

    Attributes:
        consumer: the edge by which the consumer reads its weight.
        gradient: gradient of that input.
        backward: the edge by which the backward op reads the weight; None where no gradient of the data is taken.
    """

    consumer: Edge
    gradient: TensorRef
    backward: Optional[Edge]


class Matches(NamedTuple):
    """All matches of a graph.

    Attributes:
        by_consumer: by the consumer's edge.
        backward: the ops that they show to be autodiff's.
        twice: backward ops that were differentiated themselves, each with an op of its gradient.
        doubtful: consumers with an op that may be the gradient of its weight or of another one.
        scopes: by op, where autodiff's names say that it was differentiated; empty where autodiff was watched.
    """

    by_consumer: Dict[Edge, List[Match]]
    backward: FrozenSet[OpName]
    twice: Dict[OpName, OpName]
    doubtful: Dict[Edge, OpName]
    scopes: Mapping[OpName, Set[str]]


def match_consumers(
    view: GraphView,
    consumers: Mapping[OpName, Sequence[Tuple[Edge, WeightRule]]],
    outputs: Iterable[OpName],
    known: Optional[FrozenSet[OpName]],
) -> Matches:
    """Matches consumers with the ops that autodiff made of them.

    Args:
        view: the graph.
        consumers: by variable, the edges by which ops read it as their weight, with the ops' rules.
        outputs: ops of the model's outputs and losses, where they are known.
        known: ops that autodiff is known to have made, if it was watched; a match lies among them. None: whether
            an op is autodiff's is decided by the graph.
    """
    return _Matcher(view, consumers, known).run(outputs)


class _Matcher:
    def __init__(
        self,
        view: GraphView,
        consumers: Mapping[OpName, Sequence[Tuple[Edge, WeightRule]]],
        known: Optional[FrozenSet[OpName]],
    ) -> None:
        self._view = view
        self._known = known
        pairs = {edge: rule for pairs in consumers.values() for edge, rule in pairs}
        self._consumers = sorted(pairs.items(), key=lambda pair: view.nodes[pair[0].op].order)
        self._variables: Dict[Edge, Set[OpName]] = {}
        for variable, found in consumers.items():
            for edge, _ in found:
                self._variables.setdefault(edge, set()).add(variable)

    def run(self, outputs: Iterable[OpName]) -> Matches:
        found = [match for edge, rule in self._consumers for match in self._matches(edge, rule)]
        pairs = [match for match in found if match.backward is not None]
        backward = {match.backward for match in pairs}
        pairs = _one_each([match for match in pairs if match.consumer not in backward])
        taken = {match.gradient for match in pairs}
        alone = [
            match
            for match in found
            if match.backward is None
            and match.consumer not in backward
            and match.gradient not in taken
            and not self._is_named_otherwise(match)
        ]
        # What only looks like a weight's gradient is a product that the model goes on computing with.
        forward = self._view.ancestors([*outputs, *(match.consumer.op for match in pairs)]) if alone else frozenset()
        alone = [match for match in alone if match.gradient.op not in forward]
        certain = [match for match in alone if self._is_certain(match, alone)]
        pairs.extend(_one_each(certain))
        by_consumer: Dict[Edge, List[Match]] = {}
        for match in pairs:
            by_consumer.setdefault(match.consumer, []).append(match)
        gradients = {match.gradient for match in pairs}
        doubtful = {match.consumer: match.gradient.op for match in alone if match.gradient not in gradients}
        twice = {
            match.consumer.op: match.gradient.op
            for match in found
            if match.consumer in backward and match.gradient not in gradients
        }
        ops = {tensor.op for tensor in gradients} | {edge.op for edge in backward if edge is not None}
        scopes = _named_scopes(self._view) if self._known is None else {}
        return Matches(by_consumer, frozenset(ops), twice, doubtful, scopes)

    def _is_certain(self, match: Match, rivals: List[Match]) -> bool:
        """Tells whether a gradient without a backward read is that of its consumer's weight, and of no other.

        Two layers that read one input have gradients of the same form; autodiff's names then tell them apart.
        """
        if autodiff_scope(match.consumer.op, match.gradient.op) is not None:
            return True
        own = self._variables[match.consumer]
        alike = [other for other in rivals if self._variables[other.consumer] == own]
        if any(other.gradient == match.gradient and other not in alike for other in rivals):
            return False
        group = {other.consumer for other in alike if other.gradient == match.gradient}
        if len({other.gradient for other in alike if other.consumer in group}) > len(group):
            return False
        is_product = self._view.nodes[match.gradient.op].op_type == self._view.nodes[match.consumer.op].op_type
        return self._known is not None or not is_product

    def _is_named_otherwise(self, match: Match) -> bool:
        """Tells whether autodiff's name for a gradient says that it is that of another op."""
        if autodiff_scope(match.consumer.op, match.gradient.op) is not None:
            return False
        prefix, found, _ = match.gradient.op.rpartition("_grad/")
        return bool(found) and self._view.op_ending(prefix) is not None

    def _matches(self, edge: Edge, rule: WeightRule) -> Iterator[Match]:
        if rule.adjoint is None:
            return
        adjoint, nodes = rule.adjoint, self._view.nodes
        op = nodes[edge.op]
        data = op.inputs[rule.data_input if rule.data_input is not None else 1 - edge.port]
        backward = {}
        for use in self._uses(edge.tensor):
            port = adjoint.data_op_grad_input
            if self._may_be(use.op, adjoint.data_op, op.order):
                backward[nodes[use.op].inputs[port if port is not None else 1 - use.port]] = use
        for use in self._uses(data):
            if use.op == edge.op or not self._may_be(use.op, adjoint.weight_op, op.order):
                continue
            if use.port not in adjoint.weight_op_inputs:
                continue
            first, second = adjoint.weight_op_inputs
            grad = nodes[use.op].inputs[second if use.port == first else first]
            other = backward.get(grad)
            if other is not None and other.op == use.op:
                continue
            gradient = self._gradient(edge, TensorRef(use.op))
            if gradient is not None and (other is not None or self._fits(edge, grad)):
                yield Match(edge, gradient, other)

    def _may_be(self, op: OpName, op_type: str, after: int) -> bool:
        node = self._view.nodes[op]
        is_known = self._known is None or op in self._known
        return is_known and node.op_type == op_type and node.order > after

    def _fits(self, edge: Edge, grad: TensorRef) -> bool:
        """Without a backward read: the gradient has the shape of the consumer's output, and is no weight."""
        node = self._view.nodes[grad.op]
        shape, expected = self._view.shape(grad), self._view.shape(TensorRef(edge.op))
        known = shape is None or expected is None or shape == expected
        return known and not self._view.is_variable(node.name)

    def _gradient(self, edge: Edge, product: TensorRef) -> Optional[TensorRef]:
        """Returns the gradient of a weight: the backward product, or what sums it over axes that were broadcast."""
        expected = self._view.shape(edge.tensor)
        readers = [other for other in self._view.edges_from(product.op) if self._view.nodes[other.op].op_type == "Sum"]
        if len(readers) == 1 and self._view.nodes[product.op].op_type.startswith("BatchMatMul"):
            shaped = [other.op for other in self._view.edges_from(readers[0].op)]
            if len(shaped) == 1 and self._view.nodes[shaped[0]].op_type == "Reshape":
                product = TensorRef(shaped[0])
        found = self._view.shape(product)
        return product if found is None or expected is None or found == expected else None

    def _uses(self, tensor: TensorRef) -> Iterator[Edge]:
        """Yields the edges that read a tensor, also in a gradient's loop: through a stack, or entering it anew."""
        yield from self._direct_uses(tensor)
        source = self._constant_source(tensor)
        if source is not None:
            for edge in self._view.edges_from(source.op, source.output):
                if edge.op != tensor.op and self._view.nodes[edge.op].op_type == "Enter":
                    yield from self._direct_uses(TensorRef(edge.op))

    def _direct_uses(self, tensor: TensorRef) -> Iterator[Edge]:
        for edge in self._view.edges_from(tensor.op, tensor.output):
            yield edge
            if self._view.nodes[edge.op].op_type == "StackPushV2" and edge.port == 1:
                for popped in pops_of(self._view, edge.op):
                    yield from self._view.edges_from(popped)

    def _constant_source(self, tensor: TensorRef) -> Optional[TensorRef]:
        """Returns what enters a loop as a constant, given its value inside."""
        node = self._view.nodes[tensor.op]
        while node.op_type in _CONSTANT_CARRIERS:
            node = self._view.nodes[node.inputs[0].op]
        return node.inputs[0] if node.op_type == "Enter" else None


def _one_each(matches: List[Match]) -> List[Match]:
    """Gives each gradient one consumer.

    Those that read the same weight and the same data fit alike, and whose is whose makes no difference; autodiff's
    names are followed, and else each gets one before any gets two.
    """
    found: List[Match] = []
    claimed: Set[TensorRef] = set()
    taken: Dict[Edge, int] = Counter()
    by_name = [match for match in matches if autodiff_scope(match.consumer.op, match.gradient.op) is not None]
    for match in by_name:
        if match.gradient not in claimed:
            claimed.add(match.gradient)
            taken[match.consumer] += 1
            found.append(match)
    for gradient in dict.fromkeys(match.gradient for match in matches if match.gradient not in claimed):
        rivals = [match for match in matches if match.gradient == gradient]
        match = min(rivals, key=lambda match: taken[match.consumer])
        taken[match.consumer] += 1
        found.append(match)
    return found


def autodiff_scope(op: OpName, gradient: OpName) -> Optional[str]:
    """Returns the name scope, with its slash, in which autodiff differentiated an op; None where names do not tell.

    What it makes of an op is called ``<scope>/<op>_grad/...``, all of it below the scope of an import, if any.
    """
    shared = 0
    while True:
        scope, found, _ = gradient[shared:].partition(f"{op[shared:]}_grad/")
        if found and (not scope or scope.endswith("/")):
            return gradient[:shared] + scope
        following = op.find("/", shared) + 1
        if not following or op[:following] != gradient[:following]:
            return None
        shared = following


def pops_of(view: GraphView, push: OpName) -> List[OpName]:
    """Returns the ops that pop what an op pushes on a stack."""
    found = []
    todo = [variable_behind(view.nodes, view.nodes[push].inputs[0].op)]
    while todo:
        for edge in view.edges_from(todo.pop()):
            op_type = view.nodes[edge.op].op_type
            if op_type == "StackPopV2":
                found.append(edge.op)
            elif op_type in PLAIN_READS:
                todo.append(edge.op)
    return found


def trained_by(view: GraphView, variable: OpName, consumers: Iterable[OpName]) -> Optional[OpName]:
    """Returns an op that writes a variable and is computed from what consumes it, if there is one.

    Optimizers write by Apply ops, others by assignments; either may stand in a cond or loop.
    """
    sources = frozenset(consumers)
    todo = [variable]
    for op in todo:
        for edge in view.edges_from(op):
            op_type = view.nodes[edge.op].op_type
            if edge.port == 0 and is_write(op_type) and sources & view.ancestors([edge.op]):
                return edge.op
            if op_type in ("Enter", "Switch", "RefEnter", "RefSwitch", "Merge", "RefMerge") and edge.op not in todo:
                todo.append(edge.op)
    return None


def _named_scopes(view: GraphView) -> Dict[OpName, Set[str]]:
    found: Dict[OpName, Set[str]] = {}
    for name in view.nodes:
        prefix, marker, _ = name.rpartition("_grad/")
        # The longest ending that is an op is the one that was differentiated.
        start, root = 0, prefix.partition("/")[0]
        while marker:
            ops = [op for op in (prefix[start:], f"{root}/{prefix[start:]}") if op in view.nodes and op != prefix]
            scopes = [autodiff_scope(op, name) for op in ops]
            for op, scope in zip(ops, scopes):
                if scope is not None:
                    found.setdefault(op, set()).add(scope)
            start = prefix.find("/", start) + 1
            if ops or not start:
                break
    return found
