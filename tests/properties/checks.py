"""The guarantees that every masked graph keeps, each as a check against its dense twin. Equality is bit for bit."""

import contextlib
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from fixtures.random_graphs import Built, Model
from graph_masker.masker import Masker
from graph_masker.plan import LAST_UPDATE_STEP, Site
from graph_masker.tf_compat import is_in_loop
from tests.helpers.bits import assert_same_bits, unsigned_zeros
from tests.helpers.graphs import collection_names, snapshot
from tests.helpers.running import normal_value, random_mask
from tests.properties.twins import MASKED, SPEC, Twin, Values, dense, twins

STEPS = 5
CHECKED_STEPS = 3
# How far apart two orders of adding a few gradients may be, in units of rounding of the largest.
ROUNDING_UNITS = 64
_COLLECTIONS = ("kernel", "masks", "thresholds", "masked_weights")


@dataclass(frozen=True)
class Subject:
    """A masked model and its dense twin, both with sessions.

    Attributes:
        way: how it was masked, a key of `twins.MASKED`.
        masker: masked it.
        masked, dense: the twins.
        start: values of the dense variables to start from, by name.
    """

    way: str
    masker: Masker
    masked: Twin
    dense: Twin
    start: Values

    @property
    def sites(self) -> Tuple[Site, ...]:
        """The sites of the plan."""
        return self.masker.plan.sites

    def masks(self, make: Callable[[str, Any, Any], Any]) -> Dict[str, Any]:
        """Returns a mask for each site, by the weight's name; `make` takes name, shape and type."""
        return {site.variable: make(site.variable, site.shape, _dtype(site)) for site in self.sites}

    def set_masks(self, masks: Mapping[str, Any]) -> None:
        """Sets the masks of the masked twin."""
        self.masked.load({self.masker.masks[name].op.name: mask for name, mask in masks.items()})


@contextlib.contextmanager
def subject_of(
    model: Model,
    way: str = "before",
    spoil: Callable[[Built, Masker], None] = lambda built, masker: None,
    merge_sums: bool = False,
) -> Iterator[Subject]:
    """Yields a model masked one way, and its twin.

    Args:
        model: the description.
        way: a key of `twins.MASKED`.
        spoil: changes the masked graph, to see that a check fails.
        merge_sums: see `Twin`.
    """
    parts, masker = MASKED[way](model)
    spoil(parts.built, masker)
    with twins(parts, dense(model), merge_sums=merge_sums) as (masked_twin, dense_twin):
        yield Subject(way, masker, masked_twin, dense_twin, dense_twin.start())


def ones(name: str, shape: Any, dtype: Any) -> Any:
    """A mask that keeps everything."""
    return np.ones(shape, dtype)


def zeros(name: str, shape: Any, dtype: Any) -> Any:
    """A mask that keeps nothing."""
    return np.zeros(shape, dtype)


def check_masks_of_ones(subject: Subject) -> None:
    """G1: outputs, losses and gradients are the dense graph's."""
    _check_against_weights_masked_by_hand(subject, subject.masks(ones), subject.start)


def check_random_masks(subject: Subject) -> None:
    """G3: as in the dense graph with its weights multiplied by hand; gradients of losses are masked, of decay not."""
    _check_against_weights_masked_by_hand(subject, subject.masks(random_mask), subject.start)


def check_training(subject: Subject) -> None:
    """G3: gradients are right after every step, masked entries get those of decay alone, and optimizers are as ever.

    Every step of every optimizer is the one it makes in the dense graph when given the same gradients.
    """
    masks = subject.masks(random_mask)
    subject.set_masks(masks)
    subject.masked.load(subject.start)
    for _ in range(CHECKED_STEPS):
        for number in range(len(subject.dense.built.calls)):
            before = _dense_values(subject)
            right = _check_against_weights_masked_by_hand(subject, masks, before)
            subject.dense.load(before)
            applied = subject.masked.train(number)
            subject.dense.train(number, applied)
            removed = {name: mask == 0 for name, mask in masks.items() if name in applied}
            assert_same_bits(
                {name: unsigned_zeros(applied[name][where]) for name, where in removed.items()},
                {name: unsigned_zeros(right[f"applied {number} {name}"][where]) for name, where in removed.items()},
            )
            # Statistics of activations are updated in the same run, in the dense graph from weights not masked.
            compared = [name for name in before if not name.endswith(("/moving_mean", "/moving_variance"))]
            found, expected = _dense_values(subject), subject.dense.values()
            assert_same_bits({name: found[name] for name in compared}, {name: expected[name] for name in compared})


def check_no_bypass(subject: Subject) -> None:
    """G2: other values of masked entries change no output, no data loss and no gradient of another variable.

    With masks of zeros no signal passes the first layer, and a later one may read what it likes. Hence random masks.
    """
    for make in (zeros, random_mask):
        masks = subject.masks(make)
        subject.set_masks(masks)
        results = []
        for other in (_start_value, _same_sign, _other_value):
            values = {
                name: np.where(mask == 0, other(subject, name), subject.start[name]) for name, mask in masks.items()
            }
            subject.masked.load({**subject.start, **values})
            results.append(_without_decay(subject.masked.evaluate(), subject))
        assert_same_bits(results[1], results[0])
        # Zero times a negative number is -0.
        unsigned = [{name: unsigned_zeros(value) for name, value in result.items()} for result in results]
        assert_same_bits(unsigned[2], unsigned[0])


def _start_value(subject: Subject, name: str) -> Any:
    return subject.start[name]


def _other_value(subject: Subject, name: str) -> Any:
    start = subject.start[name]
    return (0.5 * normal_value(f"other {name}", start.shape)).astype(start.dtype)


def _same_sign(subject: Subject, name: str) -> Any:
    return np.copysign(_other_value(subject, name), subject.start[name])


def check_collections(subject: Subject) -> None:
    """G4: one mask per variable, and index-parallel collections."""
    graph = subject.masked.built.graph
    names = [[item.op.name for item in graph.get_collection(key)] for key in _COLLECTIONS]
    found = sorted(zip(*names))
    expected = sorted((s.variable, s.mask, s.threshold, s.masked_weight) for s in subject.sites)
    assert found == expected, f"expected {expected}, found {found}"
    assert {len(column) for column in names} == {len(expected)}, "collections of different lengths"
    parts = {site.threshold for site in subject.sites if site.part is not None}
    for column in zip(*expected):
        # The parts of a partitioned weight share their threshold.
        own = [name for name in column if name not in parts]
        assert len(set(own)) == len(own), f"a name twice: {column}"
    assert set(subject.masker.masks) == {site.variable for site in subject.sites}
    for site in subject.sites:
        mask, weight = subject.masked.variables[site.mask], subject.masked.variables[site.variable]
        assert mask.shape == weight.shape, site
        assert mask.dtype.base_dtype == weight.dtype.base_dtype, site


def check_masking_again(subject: Subject) -> None:
    """G5: masking once more, by the same masker and by a new one, changes nothing."""
    built = subject.masked.built
    before, masks = _everything(built), set(subject.masker.masks)
    tensors = (*built.outputs, *built.losses)
    subject.masker.mask(outputs=tensors)
    assert _everything(built) == before, "the same masker changed the graph"
    assert {site.variable for site in subject.sites} == masks
    again = Masker(built.graph, SPEC)
    again.note_gradients(name for name in before[0] if name not in built.forward)
    again.mask(outputs=tensors)
    assert _everything(built) == before, "a new masker changed the graph"
    assert set(again.masks) == masks


def check_names(subject: Subject) -> None:
    """G7: every op and variable of the dense graph is there; only masks, thresholds and one counter are new."""
    original, masked = snapshot(subject.dense.built.graph), snapshot(subject.masked.built.graph)
    dense = subject.dense.built
    names = dense.forward if subject.way == "before" else dense.names
    for name in names:
        assert name in masked, f"'{name}' is lost"
        (op_type, inputs, controls), found = original[name], masked[name]
        assert (found[0], len(found[1]), sorted(found[2])) == (op_type, len(inputs), sorted(controls)), name
    variables = subject.masked.variables
    for name, variable in subject.dense.variables.items():
        assert name in variables, f"variable '{name}' is lost"
        assert (variables[name].shape, variables[name].dtype) == (variable.shape, variable.dtype), name
    added = {name for site in subject.sites for name in (site.mask, site.threshold)}
    assert set(variables) - set(subject.dense.variables) == (added | {LAST_UPDATE_STEP} if added else set())


def check_nothing_is_silent(subject: Subject) -> None:
    """G12: a trainable variable of two axes or more is a site, or a skip with a reason."""
    plan = subject.masker.plan
    told = {site.variable for site in plan.sites} | {skip.variable for skip in plan.skips if skip.reason.strip()}
    with subject.masked.built.graph.as_default():
        weights = {v.op.name for v in tf.trainable_variables() if v.shape.ndims is None or v.shape.ndims > 1}
    assert weights <= told, f"neither masked nor skipped: {sorted(weights - told)}"
    assert not {site.variable for site in plan.sites} & {skip.variable for skip in plan.skips}


CHECKS: Tuple[Callable[[Subject], None], ...] = (
    check_nothing_is_silent,
    check_collections,
    check_names,
    check_masks_of_ones,
    check_random_masks,
    check_no_bypass,
    check_training,
    check_masking_again,
)


def check_everything(model: Model, way: str = "before") -> None:
    """Runs all checks on one model."""
    with subject_of(model, way) as subject:
        for check in CHECKS:
            check(subject)


def trained(model: Model, way: str) -> Values:
    """Returns all variables after each of `STEPS` steps of a model masked at random, by step and name.

    TensorFlow does not order every read of a ref variable before its update: not that of a loop's gradient, nor
    that of the forward pass where decay alone trains the weight. Gradients are of a run without updates there.
    """
    races = model.kind == "ref"
    with subject_of(model, way) as subject:
        subject.set_masks(subject.masks(random_mask))
        subject.masked.load(subject.start)
        found: Values = {}
        for step in range(STEPS):
            for number in range(len(subject.masked.built.calls)):
                subject.masked.train(number, subject.masked.gradients(number) if races else None)
            found.update({f"step {step}: {name}": value for name, value in subject.masked.values().items()})
        return found


def _check_against_weights_masked_by_hand(subject: Subject, masks: Mapping[str, Any], values: Values) -> Values:
    expected = _expected(subject, masks, values)
    subject.set_masks(masks)
    subject.masked.load(values)
    found = subject.masked.evaluate()
    assert_same_bits(_comparable(subject, masks, found), _comparable(subject, masks, expected))
    for name in _sums_of_unsettled_order(subject, expected):
        bound = ROUNDING_UNITS * np.finfo(expected[name].dtype).eps * np.abs(expected[name]).max()
        assert np.abs(found[name] - expected[name]).max() <= bound, f"{name}: more than another order of addition"
    return expected


def _expected(subject: Subject, masks: Mapping[str, Any], values: Values) -> Values:
    """Returns what masks make of `Twin.evaluate`, computed in the dense graph.

    A sum of three or more gradients depends on its order. The masked graph adds a weight's gradients up where
    they leave its product, and then the regularizer's, which reads the weight itself; so it is added here.
    """
    subject.dense.load({**values, **{name: mask * values[name] for name, mask in masks.items()}})
    result = subject.dense.evaluate()
    subject.dense.load(values)
    raw = subject.dense.evaluate()
    result.update({name: value for name, value in raw.items() if name.startswith(("decay ", "loss decay "))})
    for name, mask in masks.items():
        for number in range(len(subject.dense.built.calls)):
            data, decay, applied = (f"{part} {number} {name}" for part in ("data", "decay", "applied"))
            if data in result:
                result[data] = mask * result[data]
                result[applied] = result[data] + result[decay] if decay in result else mask * result[applied]
            elif decay in result:
                result[applied] = result[decay]
    return result


def _comparable(subject: Subject, masks: Mapping[str, Any], values: Values) -> Values:
    """Returns what must be equal bit for bit: all, but for what depends on the order of addition.

    In a loop or cond the mask meets each summand of the gradient, and a sum of zeros of both signs is +0.
    """
    result = dict(values)
    unsettled = _sums_of_unsettled_order(subject, values)
    for site in subject.sites:
        is_masked = masks[site.variable] == 0
        for number in range(len(subject.dense.built.calls)):
            for name in (f"data {number} {site.variable}", f"applied {number} {site.variable}"):
                if name in values and not all(read.shared for read in site.reads):
                    result[name] = np.where(is_masked, unsigned_zeros(values[name]), values[name])
                if name in unsettled:
                    result[name] = unsigned_zeros(result[name][is_masked])
    return result


def _sums_of_unsettled_order(subject: Subject, values: Values) -> List[str]:
    """Names the gradients that are sums of three or more, some of them added up before the mask and some after.

    Only a weight that the model reads several times has such. What gathers rows in a loop has a gradient of its own per
    turn: the masked graph adds them up before the mask, the dense one adds each to those of the turn's other reads.
    """
    names = []
    for site in subject.sites:
        gathers = [subject.dense.built.graph.get_operation_by_name(name) for name in site.gathers]
        edges = sum(len(read.reroutes) for read in site.reads) + sum(2 if is_in_loop(op) else 1 for op in gathers)
        for number in range(len(subject.dense.built.calls)):
            data, decay, applied = (f"{part} {number} {site.variable}" for part in ("data", "decay", "applied"))
            if data in values and len(site.reads) + len(site.gathers) > 1:
                names.extend([data] if edges > 2 else [])
                names.extend([applied] if edges > 2 or decay in values else [])
    return names


def _without_decay(values: Values, subject: Subject) -> Values:
    weights = {site.variable for site in subject.sites}
    kept = {}
    for name, value in values.items():
        is_gradient = name.startswith("data ") and name.split(" ", 2)[2] not in weights
        if is_gradient or name.startswith(("output ", "loss data ")):
            kept[name] = value
    return kept


def _dense_values(subject: Subject) -> Values:
    values = subject.masked.values()
    return {name: values[name] for name in subject.dense.variables}


def _everything(built: Built) -> Tuple[Any, Any]:
    return snapshot(built.graph), collection_names(built.graph)


def _dtype(site: Site) -> Any:
    return tf.as_dtype(site.dtype).as_numpy_dtype
