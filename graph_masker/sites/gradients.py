"""Finds the gradient of each weight in a graph that already holds gradients, and what it is the sum of.

Autodiff adds up, for each tensor, what its readers contribute. Masking first would have added up what the readers
of the masked weight contribute, multiplied that by the mask, and only then added the regularizers' gradients; a
`GradientSum` tells how to do so afterwards.
"""

from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Tuple

from graph_masker.sites.adjoints import Matches, autodiff_scope, trained_by
from graph_masker.sites.effects import Effect, Effects, Kind, Kinds, ignores_value
from graph_masker.view import Edge, GraphView, OpName, TensorRef
from rewriters import ReadRule

_SUM = "AddN"
_NO_RULE = ReadRule("")


class Summand(NamedTuple):
    """A part of a gradient.

    Attributes:
        tensors: names of the tensors that are to be added up and multiplied by the mask.
        kind: ``shared`` for what comes from the product that serves all plain reads, ``own`` for what comes from
            another product; ``raw`` for what stays as it is, a regularizer's gradient.
        read: the read that its readers read; empty where that is the product's, or several, or not known.
    """

    tensors: Tuple[str, ...]
    kind: str
    read: OpName


class GradientSum(NamedTuple):
    """One gradient of a weight, as one gradient call made it.

    Attributes:
        summands: what `result` is the sum of, in the order in which autodiff came by it.
        result: name of the tensor whose readers are to read the new sum.
        scope: name scope of the gradient call, with its slash; empty where it is not known.
    """

    summands: Tuple[Summand, ...]
    result: str
    scope: str


class Unmatched(Exception):
    """An op whose backward ops could not be told with certainty."""

    def __init__(self, op: OpName, reason: str) -> None:
        super().__init__(reason)
        self.op = op
        self.reason = reason


class _Term(NamedTuple):
    """A contribution to a tensor's gradient.

    Attributes:
        tensor: the contribution.
        sources: the consumers' edges that it comes from.
        read: the read of the variable that they read.
        shared: True where the product that serves all plain reads takes its place.
    """

    tensor: TensorRef
    sources: Tuple[Edge, ...]
    read: OpName
    shared: bool


class _Partial(NamedTuple):
    """A sum of terms: its tensor, the terms, and whatever else was added, each with the read it belongs to."""

    tensor: TensorRef
    terms: Tuple[_Term, ...]
    raw: Tuple[Tuple[TensorRef, OpName], ...]


def _term_of(partial: _Partial) -> _Term:
    sources = tuple(source for term in partial.terms for source in term.sources)
    return _Term(partial.tensor, sources, partial.terms[0].read, partial.terms[0].shared)


def gradient_sums(
    view: GraphView,
    matches: Matches,
    consumers: FrozenSet[Edge],
    read_rules: Dict[str, ReadRule],
    effects: Effects,
    kinds: Kinds,
    variable: OpName,
    is_expected: bool,
    made_by_autodiff: FrozenSet[OpName],
) -> Tuple[GradientSum, ...]:
    """Returns the gradients of a variable that the graph holds.

    Args:
        view: the graph.
        matches: consumers and what autodiff made of them.
        consumers: all edges by which ops read weights.
        read_rules: by op type.
        effects: where each edge leads.
        kinds: what each op is computed from.
        variable: op name.
        is_expected: True where nothing but the graph tells whether it is trained and must have one.
        made_by_autodiff: the ops that autodiff was seen to make.

    Raises:
        Unmatched: a reader's backward ops could not be told with certainty.
    """
    finder = _Finder(view, matches, consumers, read_rules, effects)
    terms = finder.of_variable(variable)
    without_gradient = [edge for edge in finder.consumed if edge not in matches.by_consumer]
    readers = [edge.op for edge in (*finder.consumed, *finder.unknown)]
    for edge in (*without_gradient, *finder.unknown):
        # A tape gives its ops no telling names, and what applies its gradients comes later.
        beside = (*view.edges_from(edge.tensor.op, edge.tensor.output), *view.edges_from(edge.op))
        if any(other.op in made_by_autodiff for other in beside):
            raise Unmatched(edge.op, f"what '{edge.op}' adds to its gradient is not known")
    scopes = matches.scopes if is_expected else {}
    trained = trained_by(view, variable, readers) if is_expected and (finder.unknown or not terms) else None
    for edge in finder.unknown:
        if terms or edge.op in scopes or trained is not None:
            op_type = view.nodes[edge.op].op_type
            raise Unmatched(edge.op, f"what {op_type} '{edge.op}' adds to its gradient is not known")
    for edge in finder.consumed:
        known = {autodiff_scope(edge.op, match.gradient.op) for match in matches.by_consumer.get(edge, [])}
        if None not in known and scopes.get(edge.op, set()) - known:
            raise Unmatched(edge.op, f"no gradient of '{edge.op}' was found where autodiff's names say that one is")
    if not terms:
        if trained is not None:
            raise Unmatched(readers[0], f"'{trained}' trains it, but no gradient of '{readers[0]}' was found")
        return ()
    sums = finder.add_up(terms)
    for partial in sums:
        odd = [tensor.op for tensor, _ in partial.raw if kinds.of(tensor.op) is Kind.DATA]
        if odd and without_gradient:
            raise Unmatched(odd[0], f"where '{odd[0]}', a part of its gradient, comes from is not known")
        for edge in {source for term in partial.terms for source in term.sources}:
            for match in matches.by_consumer[edge]:
                if match.backward is not None and match.backward.op in matches.twice:
                    raise Unmatched(match.backward.op, f"'{match.backward.op}', a gradient, is differentiated again")
    return tuple(_as_data(view, partial) for partial in sums)


def _as_data(view: GraphView, partial: _Partial) -> GradientSum:
    """Groups a sum's terms by product, in the order in which autodiff would have come by the products' gradients."""

    def order(tensor: TensorRef) -> int:
        return view.nodes[tensor.op].order

    groups: Dict[OpName, List[_Term]] = {}
    for term in sorted(partial.terms, key=lambda term: order(term.tensor)):
        groups.setdefault("" if term.shared else term.read, []).append(term)
    found = [
        (order(terms[-1].tensor), Summand(tuple(t.tensor.name for t in terms), "own" if read else "shared", read))
        for read, terms in groups.items()
    ]
    found.extend((order(tensor), Summand((tensor.name,), "raw", read)) for tensor, read in partial.raw)
    found.sort()
    return GradientSum(tuple(summand for _, summand in found), partial.tensor.name, _scope(partial))


def _scope(partial: _Partial) -> str:
    scopes = (autodiff_scope(source.op, term.tensor.op) for term in partial.terms for source in term.sources)
    return next((scope for scope in scopes if scope is not None), "")


class _Finder:
    def __init__(
        self,
        view: GraphView,
        matches: Matches,
        consumers: FrozenSet[Edge],
        read_rules: Dict[str, ReadRule],
        effects: Effects,
    ) -> None:
        self._view = view
        self._matches = matches
        self._consumers = consumers
        self._rules = read_rules
        self._effects = effects
        # Edges met on the way: into consumers, and into ops that are neither consumers nor plain reads.
        self.consumed: List[Edge] = []
        self.unknown: List[Edge] = []

    def of_variable(self, variable: OpName) -> List[_Term]:
        """Returns what the readers of a variable contribute to its gradient, those that keep the raw value left out."""
        return self._of_handle(TensorRef(variable), inside=False)

    def _of_handle(self, handle: TensorRef, inside: bool) -> List[_Term]:
        """Does so for a variable's handle or buffer, which may have entered a loop or cond."""
        terms: List[_Term] = []
        for edge in self._edges(handle):
            node = self._view.nodes[edge.op]
            rule = self._rules.get(node.op_type)
            if rule is not None and rule.control_flow:
                outputs = {
                    output: self._of_handle(TensorRef(edge.op, output), True) for output in self._outputs(edge.op)
                }
                terms.extend(self._passed_back(edge, rule, outputs))
            elif node.op_type in ("ReadVariableOp", "Identity"):
                is_shared = not inside and not self._view.is_controlled(edge.op)
                terms.extend(self._of_value(TensorRef(edge.op), (edge.op, is_shared)))
            elif Effect.DATA in self._effects.of(edge):
                terms.extend(self._of_edge(edge, (handle.op, not inside)))
        return terms

    def _of_value(self, value: TensorRef, read: Tuple[OpName, bool]) -> List[_Term]:
        edges = [edge for edge in self._edges(value) if Effect.DATA in self._effects.of(edge)]
        return [term for edge in edges for term in self._of_edge(edge, read)]

    def _edges(self, tensor: TensorRef) -> List[Edge]:
        """Returns the edges that may contribute: none of autodiff's. A stack hands values on to a gradient's loop."""
        return [
            edge
            for edge in self._view.edges_from(tensor.op, tensor.output)
            if edge.op not in self._view.masks
            and edge.op not in self._matches.backward
            and self._view.nodes[edge.op].op_type != "StackPushV2"
            and not ignores_value(self._view.nodes[edge.op].op_type)
        ]

    def _outputs(self, op: OpName) -> List[int]:
        return sorted({edge.tensor.output for edge in self._view.edges_from(op)})

    def _of_edge(self, edge: Edge, read: Tuple[OpName, bool]) -> List[_Term]:
        if edge in self._consumers:
            self.consumed.append(edge)
            if edge in self._matches.doubtful:
                other = self._matches.doubtful[edge]
                raise Unmatched(edge.op, f"whether '{other}' is the gradient of '{edge.op}' cannot be told")
            return [_Term(match.gradient, (edge,), *read) for match in self._matches.by_consumer.get(edge, [])]
        node = self._view.nodes[edge.op]
        rule = self._rules.get(node.op_type)
        if rule is None or edge.port not in rule.carriers(len(node.inputs), edge.port if rule.parallel else 0):
            self.unknown.append(edge)
            return []
        per_output = {output: self._of_value(TensorRef(edge.op, output), read) for output in self._outputs(edge.op)}
        if rule.alias and edge.op not in self._view.values:
            # It moves to the product as it is, and what its readers contribute is added up first.
            sums = self.add_up([term for found in per_output.values() for term in found])
            if not any(partial.raw for partial in sums):
                return [_term_of(partial) for partial in sums]
        return self._passed_back(edge, rule, per_output)

    def _passed_back(self, edge: Edge, rule: ReadRule, outputs: Dict[int, List[_Term]]) -> List[_Term]:
        """Follows gradients of an op's outputs to the gradient of the input by which `edge` enters it."""
        terms = [term for found in outputs.values() for term in found]
        if not terms or rule.adjoint == "":
            return terms
        if rule.adjoint is None:
            op_type = self._view.nodes[edge.op].op_type
            raise Unmatched(edge.op, f"how {op_type} '{edge.op}' passes gradients back is not known")
        gathered: Dict[TensorRef, List[_Term]] = {}
        for found in outputs.values():
            for partial in self.add_up(found):
                gathered.setdefault(self._input_gradient(edge, rule, partial), []).extend(partial.terms)
        return [_term_of(_Partial(tensor, tuple(found), ())) for tensor, found in gathered.items()]

    def _input_gradient(self, edge: Edge, rule: ReadRule, partial: _Partial) -> TensorRef:
        if partial.raw:
            raise Unmatched(edge.op, f"a regularizer reads '{edge.op}', too")
        found = self._exit_of(partial.tensor) if rule.adjoint == "Exit" else self._adjoints(edge, rule, partial.tensor)
        shape, expected = (self._view.shape(found[0]) if found else None), self._view.shape(edge.tensor)
        if self._view.nodes[self._behind(edge.tensor.op)].op_type == "VarHandleOp":
            expected = None  # A handle is a scalar, whatever it stands for.
        if len(found) != 1 or (shape is not None and expected is not None and shape != expected):
            raise Unmatched(edge.op, f"the {rule.adjoint} that passes the gradient of '{edge.op}' back was not found")
        return found[0]

    def _behind(self, op: OpName) -> OpName:
        """Follows a handle back to its variable; a value, to the op that it comes from."""
        while self._rules.get(self._view.nodes[op].op_type, _NO_RULE).control_flow:
            op = self._view.nodes[op].inputs[0].op
        return op

    def _adjoints(self, edge: Edge, rule: ReadRule, gradient: TensorRef) -> List[TensorRef]:
        found = []
        for reader in self._readers(gradient):
            node = self._view.nodes[reader.op]
            if node.op_type != rule.adjoint:
                continue
            if node.op_type == "Unpack":
                found.append(TensorRef(reader.op, edge.port))
            elif node.op_type != "Slice" or node.inputs[1].output == self._slot(edge, rule):
                found.append(TensorRef(reader.op))
        return found

    def _slot(self, edge: Edge, rule: ReadRule) -> int:
        """Returns which of the joined inputs an edge enters."""
        return rule.carriers(len(self._view.nodes[edge.op].inputs)).index(edge.port)

    def _exit_of(self, gradient: TensorRef) -> List[TensorRef]:
        """Returns the end of the loop that accumulates the gradient of what enters the forward loop."""
        found = []
        for reader in self._readers(gradient):
            node = self._view.nodes[reader.op]
            if node.op_type not in ("Add", "AddV2"):
                continue
            switch = self._view.nodes[node.inputs[1 - reader.port].op]
            following = {self._view.nodes[edge.op].op_type for edge in self._view.edges_from(reader.op)}
            if switch.op_type != "Switch" or "NextIteration" not in following:
                continue
            for edge in self._view.edges_from(switch.name, 0):
                if self._view.nodes[edge.op].op_type == "Exit":
                    found.append(TensorRef(edge.op))
        return found

    def add_up(self, terms: Iterable[_Term]) -> List[_Partial]:
        """Joins terms that the graph adds up, one sum per gradient call."""
        # Each partial sum with the tensors that hold it: itself, and sums with regularizers' gradients above it.
        levels = [self._levels(_Partial(term.tensor, (term,), ())) for term in terms]
        merged = True
        while merged:
            merged = False
            by_sum: Dict[OpName, List[Tuple[int, _Partial]]] = {}
            for position, partials in enumerate(levels):
                for partial in partials:
                    for op in self._sums_of(partial.tensor):
                        by_sum.setdefault(op, []).append((position, partial))
            for op in sorted(by_sum, key=lambda name: self._view.nodes[name].order):
                members = dict(by_sum[op])
                sources = [source for partial in members.values() for term in partial.terms for source in term.sources]
                if len(members) < 2 or len(set(sources)) < len(sources):
                    continue
                joined = self._joined(op, list(members.values()))
                levels = [item for position, item in enumerate(levels) if position not in members]
                levels.append(self._levels(joined))
                merged = True
                break
        return [partials[0] for partials in levels]

    def _levels(self, partial: _Partial) -> List[_Partial]:
        """Returns a partial sum, and what it becomes where something else is added to it alone."""
        levels = [partial]
        for op in self._sums_of(partial.tensor):
            levels.append(self._joined(op, [partial]))
        return levels

    def _joined(self, op: OpName, partials: List[_Partial]) -> _Partial:
        inputs = self._view.nodes[op].inputs
        covered = {tensor for partial in partials for tensor in self._held_by(partial.tensor)}
        reads = {term.read for partial in partials for term in partial.terms}
        read = reads.pop() if len(reads) == 1 else ""
        raw = tuple((tensor, read) for tensor in inputs if tensor not in covered)
        return _Partial(
            TensorRef(op),
            tuple(term for partial in partials for term in partial.terms),
            (*(item for partial in partials for item in partial.raw), *raw),
        )

    def _held_by(self, tensor: TensorRef) -> List[TensorRef]:
        """Returns a tensor and the Identities of it, which hold the same value."""
        found = [tensor]
        for held in found:
            for edge in self._view.edges_from(held.op, held.output):
                if self._view.nodes[edge.op].op_type == "Identity":
                    found.append(TensorRef(edge.op))
        return found

    def _readers(self, tensor: TensorRef) -> List[Edge]:
        return [edge for held in self._held_by(tensor) for edge in self._view.edges_from(held.op, held.output)]

    def _sums_of(self, tensor: TensorRef) -> List[OpName]:
        readers = self._readers(tensor)
        return list(dict.fromkeys(edge.op for edge in readers if self._view.nodes[edge.op].op_type == _SUM))
