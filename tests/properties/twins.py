"""Runs a built model: sets all variables at once, evaluates what a check compares, trains."""

import contextlib
from dataclasses import dataclass, replace
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from fixtures.random_graphs import Built, Model, build
from fixtures.random_graphs.description import BATCH, FEATURES
from graph_masker.built import mask_graph
from graph_masker.errors import PlanError
from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.helpers.running import normal_value, single_threaded, variables_by_name

SPEC = PruningSpec(0.5, 1, 10, also=("depthwise",))

Values = Dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """A built model and gradients of each summand of its losses, which its training does not use.

    Attributes:
        built: the model.
        gradients: by call, then by name: ``data 0 w`` and ``decay 0 w``.
    """

    built: Built
    gradients: Tuple[Mapping[str, Any], ...]


Masked = Tuple[Parts, Masker]


def dense(model: Model) -> Parts:
    """Builds a model that is not masked."""
    return _with_parts(build(model))


def masked_before(model: Model) -> Masked:
    """Builds a model masked at the moment it asks for gradients, and again at the end."""
    maskers: List[Masker] = []

    def around(graph: Any) -> ContextManager[Any]:
        maskers.append(Masker(graph, SPEC))
        return maskers[0].watching_gradients()

    built = build(model, around)
    maskers[0].mask(outputs=(*built.outputs, *built.losses))
    return _noted(built, maskers[0])


class Refused(Exception):
    """The gradients of a model could not be matched with certainty, and it was left as it was."""


def masked_after(model: Model) -> Masked:
    """Builds a model with its gradients and optimizers, and masks it then."""
    built = build(model)
    try:
        masker = mask_graph(built.graph, SPEC, outputs=built.outputs, losses=built.losses)
    except PlanError as refusal:
        assert "holds its gradients already, and" in str(refusal) or "no weight to mask" in str(refusal), refusal
        raise Refused(str(refusal)) from refusal
    calls = tuple(
        replace(call, gradients={name: masker.current(tensor) for name, tensor in call.gradients.items()})
        for call in built.calls
    )
    return _noted(replace(built, calls=calls), masker)


MASKED: Mapping[str, Callable[[Model], Masked]] = {"before": masked_before, "after": masked_after}


class Twin:
    """A built model in a session of its own.

    Args:
        parts: the model.
        merge_sums: let Grappler merge additions into one, as it does by default. Where the mask stands between two
            sums of gradients they stay apart, so that the order of addition is another than in the dense graph.
    """

    def __init__(self, parts: Parts, merge_sums: bool = False) -> None:
        self.built = parts.built
        self.variables = variables_by_name(self.built.graph)
        self._parts = parts.gradients
        self._session = _session(self.built.graph, merge_sums)
        self._session.run([variable.initializer for variable in self.variables.values()])

    def start(self) -> Values:
        """Returns initial values: of the trainable variables as their names say, of others as initialized."""
        values = self.values()
        with self.built.graph.as_default():
            trainable = {variable.op.name for variable in tf.trainable_variables()}
        for name, value in values.items():
            if name in trainable or name.endswith("/ExponentialMovingAverage"):
                values[name] = _scaled(normal_value(name, value.shape), value.dtype)
        return values

    def values(self) -> Values:
        """Returns the values of all global variables, by name."""
        return dict(self._session.run(self.variables)) if self.variables else {}

    def load(self, values: Mapping[str, Any]) -> None:
        """Sets every variable named."""
        initializers = {name: self.variables[name].initializer for name in values}
        feed = {initializer.inputs[1]: values[name] for name, initializer in initializers.items()}
        self._session.run(list(initializers.values()), feed)

    def evaluate(self) -> Values:
        """Returns outputs, summands of losses and all gradients, each under a name of its own.

        ``data 0 w`` and ``decay 0 w`` are gradients of the first call's summands; ``applied 0 w`` what its
        optimizer is given. Each comes from a run of its own: where two sums of gradients share their summands,
        AddN cannot add up in place, and the order in which it adds is another.
        """
        fetches: Values = {f"output {number}": output for number, output in enumerate(self.built.outputs)}
        for number, call in enumerate(self.built.calls):
            fetches.update({f"loss {part} {number}": loss for part, loss in call.parts})
        found = self._run(fetches)
        for number, call in enumerate(self.built.calls):
            found.update({f"applied {number} {name}": value for name, value in self.gradients(number).items()})
            for part, _ in call.parts:
                found.update(self._run(_starting(f"{part} ", self._parts[number])))
        return found

    def gradients(self, number: int) -> Values:
        """Returns what the optimizer of the call of this number would be given, by variable name."""
        return self._run(self.built.calls[number].gradients)

    def _run(self, fetches: Mapping[str, Any]) -> Values:
        return dict(self._session.run(dict(fetches), self._feed()))

    def train(self, number: int, given: Optional[Mapping[str, Any]] = None) -> Values:
        """Runs the train op of the call of this number and returns the gradients applied, by variable name.

        Args:
            number: index among the model's calls.
            given: gradients that take the place of its own, by variable name.
        """
        call = self.built.calls[number]
        gradients = {call.gradients[name]: value for name, value in (given or {}).items()}
        applied, _ = self._session.run([dict(call.gradients), call.train_op], {**self._feed(), **gradients})
        return dict(applied)

    def _feed(self) -> Dict[Any, Any]:
        return {self.built.batch: np.random.RandomState(5).normal(size=[BATCH, FEATURES]).astype(np.float32)}

    def close(self) -> None:
        """Ends the session."""
        self._session.close()


@contextlib.contextmanager
def twins(*all_parts: Parts, merge_sums: bool = False) -> Iterator[List[Twin]]:
    """Yields a `Twin` of each model."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Twin(parts, merge_sums))) for parts in all_parts]


def _session(graph: Any, merge_sums: bool) -> Any:
    if merge_sums:
        return single_threaded(graph)
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.graph_options.rewrite_options.arithmetic_optimization = RewriterConfig.OFF
    return tf.Session(graph=graph, config=config)


def _scaled(value: Any, dtype: Any) -> Any:
    return (0.3 * value).astype(dtype)


def _with_parts(built: Built) -> Parts:
    found: List[Mapping[str, Any]] = []
    with built.graph.as_default():
        variables = tf.trainable_variables()
        for number, call in enumerate(built.calls):
            gradients: Values = {}
            for part, loss in call.parts:
                for variable, gradient in zip(variables, tf.gradients(loss, variables) if variables else []):
                    if gradient is not None:
                        gradients[f"{part} {number} {variable.op.name}"] = tf.convert_to_tensor(gradient)
            found.append(gradients)
    return Parts(built, tuple(found))


def _noted(built: Built, masker: Masker) -> Masked:
    with masker.watching_gradients():
        return _with_parts(built), masker


def _starting(start: str, values: Mapping[str, Any]) -> Values:
    return {name: value for name, value in values.items() if name.startswith(start)}
