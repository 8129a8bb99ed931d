"""A pruned file holds what one mask update in a live graph leaves, folded; all else of it is as it was."""

import functools
import os
from typing import Any, Dict, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import PruningSpec, prune_model
from graph_masker.files.graphs import ConstantsReader, read_graph_def
from tests.helpers.bits import assert_same_bits, differences, flip_last_bit
from tests.helpers.folders import files_of
from tests.helpers.turns import in_turns
from tests.oneshot.nets import KINDS, masked_live, run_frozen, write_model

SPECS: Dict[str, Dict[str, Any]] = {
    "element": {"target_sparsity": 0.8},
    "dense": {"target_sparsity": 0.0},
    "n:m": {"structure": "2:4", "exclude": "conv/kernel$"},
    "block": {"target_sparsity": 0.6, "structure": {"block": [4, 2]}, "also": ["depthwise"]},
    "max": {"target_sparsity": 0.6, "structure": {"block": [2, 2], "pooling": "max"}},
    "channel": {"target_sparsity": 0.5, "structure": "channel"},
    "l2": {"target_sparsity": 0.5, "structure": {"channel": "l2"}},
    "global": {"target_sparsity": 0.9, "allocation": "global", "max_sparsity": 0.95},
    "global channels": {"target_sparsity": 0.4, "allocation": "global", "structure": "channel"},
    "erk": {"target_sparsity": 0.85, "allocation": "erk", "max_sparsity": 0.97},
    "rules": {
        "target_sparsity": 0.7,
        "allocation": "global",
        "rules": [
            {"match": "^conv/", "exclude": True},
            {"match": "lstm", "sparsity": 0.5},
            {"match": "up|last", "group": "other"},
        ],
    },
}


SPECS_IN_TURNS = in_turns(SPECS, ("ref", "resource"))


class Written(NamedTuple):
    folder: Any
    is_resource: bool

    @property
    def prefix(self) -> str:
        return str(self.folder / "ckpt" / "model.ckpt-2")


@pytest.fixture(scope="module", params=["ref", "resource"])
def written(request: Any, models: Any) -> Written:
    return models(request.param)


@pytest.fixture(scope="module")
def models(tmp_path_factory: Any) -> Any:
    @functools.lru_cache(maxsize=None)
    def model(kind: str) -> Written:
        folder = tmp_path_factory.mktemp(kind)
        write_model(str(folder), kind == "resource")
        return Written(folder, kind == "resource")

    return model


def spec_of(name: str) -> PruningSpec:
    return PruningSpec(begin_step=0, schedule="one_shot", **SPECS[name])


def tensors_of(path: str) -> Dict[str, Any]:
    """Returns every tensor of a file: of checkpoints, those of the latest."""
    if os.path.isdir(path):
        saved = os.path.join(path, "variables", "variables")
        return read_all(saved if os.path.isfile(saved + ".index") else path)
    reader = ConstantsReader(path, read_graph_def(path))
    return {name: reader.tensor(name) for name in reader.names()}


class Live(NamedTuple):
    """A model as it was written, a spec, and what a live update by it leaves."""

    written: Written
    spec: PruningSpec
    expected: Any


@pytest.fixture(scope="module", params=[pytest.param(p.values, id=p.id, marks=p.marks) for p in SPECS_IN_TURNS])
def live(request: Any, models: Any) -> Live:
    (name, kind) = request.param
    written, spec = models(kind), spec_of(name)
    return Live(written, spec, masked_live(written.prefix, spec, written.is_resource))


@pytest.mark.parametrize("kind", ["ckpt", "saved"])
def test_weights_are_those_of_a_live_update_folded(live: Live, kind: str, tmp_path: Any) -> None:
    written, spec, expected = live
    before = files_of(written.folder)
    result = prune_model(str(written.folder / kind), str(tmp_path / "out"), spec)
    assert files_of(written.folder) == before
    old, new = tensors_of(str(written.folder / kind)), tensors_of(str(tmp_path / "out"))
    assert_same_bits({key: new[key] for key in expected.weights}, expected.weights)
    assert_same_bits({weight.variable: weight.threshold for weight in result.weights}, expected.thresholds)
    zeros = {key: int(np.sum(mask == 0)) for key, mask in expected.masks.items()}
    assert {weight.variable: weight.zeros for weight in result.weights} == zeros
    averages = {f"{key}/ExponentialMovingAverage": key for key in expected.weights} if kind == "ckpt" else {}
    averages = {name: key for name, key in averages.items() if name in old}
    assert set(averages) <= set(result.copies)
    assert len(averages) == len(expected.weights) or kind == "saved" or "split/dense/kernel" in expected.weights
    for name, key in averages.items():
        assert new[name].tobytes() == (expected.masks[key] * old[name]).tobytes()
    others = set(old) - set(expected.weights) - set(result.copies)
    assert {name for name in others if "Momentum" in name}
    assert_same_bits({name: new[name] for name in others}, {name: old[name] for name in others})
    assert set(new) == set(old)


def test_comparison_sees_one_bit_and_another_mask(live: Live) -> None:
    expected = live.expected
    changed = {key: flip_last_bit(value) for key, value in expected.weights.items()}
    assert len(differences(changed, expected.weights)) == len(expected.weights)


def test_a_frozen_graphs_output_is_that_of_the_live_graph(live: Live, tmp_path: Any) -> None:
    written, spec, expected = live
    source, path = str(written.folder / "frozen.pb"), str(tmp_path / "pruned.pb")
    if "split/dense/kernel" in expected.weights:
        # A frozen graph does not tell that constants are the parts of one weight.
        spec = PruningSpec.from_dict({**spec.to_dict(), "exclude": [*spec.exclude, "^split/"]})
        expected = masked_live(written.prefix, spec, written.is_resource)
    result = prune_model(source, path, spec)
    assert result.part_by_part == ()
    old, new = tensors_of(source), tensors_of(path)
    assert_same_bits({key: new[key] for key in expected.weights}, expected.weights)
    assert_same_bits({weight.variable: weight.threshold for weight in result.weights}, expected.thresholds)
    assert {name for name in old if old[name].tobytes() != new[name].tobytes()} <= set(expected.weights)
    assert run_frozen(path).tobytes() == expected.output.tobytes()
    if spec.target_sparsity:
        assert run_frozen(source).tobytes() != expected.output.tobytes()
    else:
        assert files_of(written.folder)["frozen.pb"] == files_of(tmp_path)["pruned.pb"]


def test_parts_of_a_frozen_weight_are_listed(written: Written, tmp_path: Any) -> None:
    for kind in KINDS:
        result = prune_model(str(written.folder / kind), str(tmp_path / kind), spec_of("element"))
        has_parts = any("/part_" in weight.variable for weight in result.weights)
        assert result.part_by_part == (("split/dense/kernel",) if has_parts else ())
        assert has_parts == (kind.startswith("frozen"))


def test_all_else_is_copied_byte_for_byte(written: Written, tmp_path: Any) -> None:
    old = files_of(written.folder)
    for kind in KINDS:
        prune_model(str(written.folder / kind), str(tmp_path / kind), spec_of("element"))
    new = files_of(tmp_path)
    # How many files the tensors lie in is not kept.
    data = {name for name in {*old, *new} if ".data-" in name}
    assert set(new) - data == set(old) - data
    same = {name for name in set(old) - data if old[name] == new[name]}
    assert same == {"ckpt/model.ckpt-2.meta", "saved/saved_model.pb"}


def test_nodes_that_are_not_pruned_keep_their_bytes(written: Written, tmp_path: Any) -> None:
    source, path = written.folder / "frozen.pb", tmp_path / "pruned.pb"
    result = prune_model(str(source), str(path), spec_of("element"))
    old, new = source.read_bytes(), path.read_bytes()
    # Dense constants take as many bytes as before: what changed lies inside the pruned ones.
    assert len(new) == len(old)
    changed = int(np.count_nonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8)))
    assert 0 < changed <= 4 * sum(weight.zeros for weight in result.weights)
    first, second = read_graph_def(str(source)), read_graph_def(str(path))
    names = {weight.variable for weight in result.weights}
    assert [a.name for a, b in zip(first.node, second.node) if a != b] == [
        node.name for node in first.node if node.name in names
    ]


def test_text_and_binary_frozen_graphs_are_pruned_alike(written: Written, tmp_path: Any) -> None:
    for name in ("frozen.pb", "frozen.pbtxt"):
        prune_model(str(written.folder / name), str(tmp_path / name), spec_of("global"))
    assert_same_bits(tensors_of(str(tmp_path / "frozen.pb")), tensors_of(str(tmp_path / "frozen.pbtxt")))


def test_weights_of_other_graphs_of_a_saved_model_are_listed(tmp_path: Any) -> None:
    builder = tf.saved_model.builder.SavedModelBuilder(str(tmp_path / "saved"))
    for tags in (["train"], ["serve"]):
        with tf.Graph().as_default(), tf.Session() as session:
            outputs = tf.layers.dense(tf.placeholder(tf.float32, [None, 6]), 8, name="both")
            if tags == ["train"]:
                tf.layers.dense(outputs, 3, name="only")
                session.run(tf.global_variables_initializer())
                builder.add_meta_graph_and_variables(session, tags)
            else:
                builder.add_meta_graph(tags)
    builder.save()
    source, spec = str(tmp_path / "saved"), spec_of("element")
    result = prune_model(source, str(tmp_path / "serving"), spec)
    assert [weight.variable for weight in result.weights] == ["both/kernel"]
    reasons = {skip.variable: skip.reason for skip in result.plan.skips}
    assert reasons["only/kernel"] == "only a graph that was not chosen has it (--tags train)"
    result = prune_model(source, str(tmp_path / "training"), spec, tags=["train"])
    assert [weight.variable for weight in result.weights] == ["both/kernel", "only/kernel"]
    assert "only/kernel" not in {skip.variable for skip in result.plan.skips}
