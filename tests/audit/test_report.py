"""Audits of checkpoints whose truth is known from their arrays."""

import json
import os
from typing import Any, Dict, Tuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PlanError, PruningSpec, SourceError, fold_checkpoint, report_model
from graph_masker.audit.measuring import measure
from graph_masker.plan import PLAN_FILE
from graph_masker.schedule import kept_entries, sparsity_at
from tests.audit.models import Trained, Values, build, tampered, train, write
from tests.helpers.running import initialize

SPEC = PruningSpec(0.8, 1, 9, frequency=3)
WEIGHTS = {"conv/kernel": "conv/mask", "separable/pointwise_kernel": "separable/pointwise_kernel_mask"}
WEIGHTS["parts/kernel"] = "parts/mask"


@pytest.fixture
def trained(tmp_path: Any) -> Trained:
    return train(tmp_path, SPEC, 6)


def _faults(report: Any) -> Dict[Tuple[str, str], str]:
    return {(finding.kind, finding.variable): finding.text for finding in report.faults}


def _by_name(report: Any) -> Dict[str, Any]:
    return {layer.variable: layer for layer in report.layers}


def test_every_number_is_that_of_the_arrays(trained: Trained) -> None:
    report, values = report_model(trained.prefix), trained.values
    layers = _by_name(report)
    assert set(layers) == {*WEIGHTS, "separable/depthwise_kernel"}
    for name, mask in WEIGHTS.items():
        layer, weight = layers[name], values[name]
        assert (layer.mask, layer.shape, layer.entries) == (mask, weight.shape, weight.size)
        assert layer.measured == measure(weight, values[mask] != 0)
        assert layer.measured.zeros == np.sum(values[mask] * weight == 0)
        assert layer.threshold == values[mask[: -len("mask")] + "threshold"]
    assert "on request" in layers["separable/depthwise_kernel"].dense_because
    assert {other.variable for other in report.others} == {"conv/bias", "separable/bias"}
    assert (report.state, report.step, report.faults) == ("masked", 6, ())
    zeros = sum(np.sum(values[mask] * values[name] == 0) for name, mask in WEIGHTS.items())
    entries = sum(values[name].size for name in WEIGHTS)
    assert report.sparsity == zeros / entries
    model = [*WEIGHTS, "separable/depthwise_kernel", "conv/bias", "separable/bias"]
    assert report.parameters == sum(values[name].size for name in model)
    biases = sum(np.sum(values[name] == 0) for name in model[3:])
    assert report.parameters_left == report.parameters - zeros - biases
    assert report.size.raw == 4 * report.parameters


def test_what_was_requested_is_the_schedules_at_the_last_update(trained: Trained) -> None:
    """Step 6 comes after the updates at 1 and 4 of 1, 4, 7, 9."""
    report = report_model(trained.prefix)
    assert (report.last_update, report.expected_update) == (4, 4)
    assert report.spec_from == os.path.join(os.path.dirname(trained.prefix), PLAN_FILE)
    now = sparsity_at(SPEC, 4)
    assert 0 < now < sparsity_at(SPEC, 6) < 0.8
    for name in WEIGHTS:
        layer = _by_name(report)[name]
        entries = trained.values[name].size
        assert layer.request.sparsity == now
        assert layer.request.zeros == entries - kept_entries(entries, now)
        assert layer.request.target_zeros == entries - kept_entries(entries, 0.8)
        assert layer.off_by == 0


def test_without_its_meta_file_it_is_told_by_names(trained: Trained) -> None:
    whole = report_model(trained.prefix)
    os.remove(trained.prefix + ".meta")
    report = report_model(trained.prefix)
    layers = _by_name(report)
    assert set(layers) == set(_by_name(whole))
    for name in WEIGHTS:
        assert layers[name].measured == _by_name(whole)[name].measured
        assert (layers[name].mask, layers[name].off_by) == (WEIGHTS[name], 0)
    assert {other.variable for other in report.others} == {"conv/bias", "separable/bias"}
    assert report.parameters == whole.parameters
    assert (report.counted, report.multiply_adds) == ((), 0)
    assert "no .meta file" in report.remarks[0]


def test_a_folded_checkpoint_has_the_same_zeros_and_sizes_and_no_fault(trained: Trained, tmp_path: Any) -> None:
    masked = report_model(trained.prefix)
    folded = report_model(fold_checkpoint(trained.prefix, str(tmp_path / "folded" / "model.ckpt")).prefix, SPEC)
    assert (folded.state, folded.faults, folded.step, folded.last_update) == ("sparse", (), 6, None)
    assert (folded.size, folded.parameters_left) == (masked.size, masked.parameters_left)
    for name in WEIGHTS:
        layer = _by_name(folded)[name]
        assert (layer.mask, layer.measured.mask_zeros) == (None, None)
        assert layer.measured.weight_zeros == _by_name(masked)[name].zeros
        assert layer.off_by == 0


def test_a_dense_checkpoint_is_dense(tmp_path: Any) -> None:
    with tf.Graph().as_default() as graph, tf.Session() as session:
        build()
        initialize(session)
        prefix = tf.train.Saver().save(session, str(tmp_path / "dense.ckpt"))
        assert graph is session.graph
    report = report_model(prefix)
    assert (report.state, report.sparsity, report.findings, report.step) == ("dense", 0.0, (), None)
    assert "no graph_masker_plan.json lies beside" in report.remarks[0]


def test_a_mask_set_back_to_ones_is_a_lost_mask(trained: Trained) -> None:
    def change(values: Values) -> None:
        values["conv/kernel"] = values["conv/kernel"] * values["conv/mask"]
        values["conv/mask"] = np.ones_like(values["conv/mask"])

    tampered(trained, change)
    faults = _faults(report_model(trained.prefix))
    assert set(faults) == {("lost mask", "conv/kernel"), ("off target", "conv/kernel")}
    assert "its mask is all ones" in faults["lost mask", "conv/kernel"]
    zeros = int(np.sum(trained.values["conv/mask"] == 0))
    assert f"{zeros} entries denser than requested: 0 zeros, expected {zeros}" in faults["off target", "conv/kernel"]


@pytest.mark.parametrize("has_meta", [True, False])
def test_a_mask_that_is_gone_is_a_lost_mask(trained: Trained, has_meta: bool) -> None:
    def change(values: Values) -> None:
        values["conv/kernel"] = values["conv/kernel"] * values["conv/mask"]
        del values["conv/mask"], values["conv/threshold"]

    tampered(trained, change)
    if not has_meta:
        os.remove(trained.prefix + ".meta")
    faults = _faults(report_model(trained.prefix))
    assert set(faults) == {("lost mask", "conv/kernel")}
    words = "the graph masks it" if has_meta else "and it has no mask"
    assert words in faults["lost mask", "conv/kernel"]


def test_raw_weights_under_a_mask_are_no_fault(trained: Trained) -> None:
    report = report_model(trained.prefix)
    (remark,) = report.findings
    hidden = sum(np.sum((trained.values[mask] == 0) & (trained.values[name] != 0)) for name, mask in WEIGHTS.items())
    assert (remark.kind, remark.is_fault) == ("raw weights", False)
    assert remark.text.startswith(f"{hidden:,} stored entries of 3 weights")


def test_a_weight_initialized_to_zeros_is_no_lost_mask(trained: Trained) -> None:
    def change(values: Values) -> None:
        values["conv/kernel"] = np.zeros_like(values["conv/kernel"])
        values["conv/mask"] = np.ones_like(values["conv/mask"])

    tampered(trained, change)
    assert set(_faults(report_model(trained.prefix))) == {
        ("nothing left", "conv/kernel"),
        ("off target", "conv/kernel"),
    }


@pytest.mark.parametrize("has_meta", [True, False])
def test_a_mask_without_its_weight_is_told(trained: Trained, has_meta: bool) -> None:
    def change(values: Values) -> None:
        del values["conv/kernel"]

    tampered(trained, change)
    if not has_meta:
        os.remove(trained.prefix + ".meta")
    faults = _faults(report_model(trained.prefix))
    missing = {("missing weight", "conv/kernel")} if has_meta else set()
    assert set(faults) == {("mask without weight", "conv/mask"), *missing}


def test_masks_and_weights_that_are_no_numbers_to_use_are_told(trained: Trained) -> None:
    def change(values: Values) -> None:
        values["conv/mask"] = values["conv/mask"] * 0.5
        values["parts/kernel"] = np.where(values["parts/mask"] > 0, np.nan, values["parts/kernel"]).astype("f")

    tampered(trained, change)
    faults = _faults(report_model(trained.prefix))
    kept = int(np.sum(trained.values["conv/mask"]))
    assert faults["not a mask", "conv/kernel"] == f"{kept:,} entries of 'conv/mask' are neither 0 nor 1"
    kept = int(np.sum(trained.values["parts/mask"]))
    assert faults["not finite", "parts/kernel"] == f"{kept:,} stored entries are NaN or infinite"
    assert len(faults) == 2


@pytest.mark.parametrize("change", [-1, 1])
def test_one_entry_more_or_less_is_seen(trained: Trained, change: int) -> None:
    def move(values: Values) -> None:
        mask = values["conv/mask"].copy().reshape(-1)
        mask[np.nonzero(mask == (change > 0))[0][0]] = change < 0
        values["conv/mask"] = mask.reshape(values["conv/mask"].shape)

    tampered(trained, move)
    report = report_model(trained.prefix)
    assert _by_name(report)["conv/kernel"].off_by == change
    # Sparser masks than the schedule's may have been restored, and are kept.
    kinds = [finding.kind for finding in report.findings]
    assert kinds == (["off target", "raw weights"] if change < 0 else ["sparser than requested", "raw weights"])
    assert [finding.is_fault for finding in report.findings] == [change < 0, False]


def test_masks_that_were_not_updated_in_time_are_told(trained: Trained) -> None:
    def change(values: Values) -> None:
        values["global_step"] = np.int64(7)

    tampered(trained, change)
    faults = _faults(report_model(trained.prefix))
    text = "masks were last updated at step 4; by the schedule, up to step 7, the last one is due at step 7"
    assert faults == {("off schedule", ""): text}


@pytest.mark.parametrize("steps", [1, 2, 9, 12])
def test_no_fault_at_any_step(steps: int, tmp_path: Any) -> None:
    """From before the first update to after the last one."""
    report = report_model(train(tmp_path, PruningSpec(0.7, 2, 9, frequency=3), steps).prefix)
    expected = {1: None, 2: 2, 9: 9, 12: 9}[steps]
    assert (report.step, report.expected_update, report.last_update) == (steps, expected, expected)
    assert report.faults == ()
    assert {layer.off_by for layer in report.prunable} == {0}


@pytest.mark.parametrize(
    "structure, allocation",
    [
        ("2:4", "uniform"),
        *((structure, kind) for structure in ("element", "channel") for kind in ("uniform", "erk", "global")),
        *(({"block": [3, 2]}, kind) for kind in ("uniform", "erk", "global")),
    ],
)
def test_structures_and_allocations_are_counted_as_they_prune(structure: Any, allocation: str, tmp_path: Any) -> None:
    target = {} if structure == "2:4" else {"target_sparsity": 0.5}
    spec = PruningSpec(begin_step=1, end_step=5, frequency=2, structure=structure, allocation=allocation, **target)
    report = report_model(train(tmp_path, spec, 4).prefix)
    assert report.faults == ()
    layers = [layer for layer in report.prunable if layer.off_by is not None]
    # Blocks of 3 x 2 divide all three matrices, [27, 8], [8, 6] and [96, 10], but the second.
    expected = 0 if allocation == "global" else 2 if isinstance(structure, dict) else 3
    assert len(layers) == expected
    assert [layer.off_by for layer in layers] == [0] * expected
    assert all(layer.request.group is not None for layer in report.prunable) == (allocation == "global")


def test_a_group_that_is_off_its_sum_is_told(tmp_path: Any) -> None:
    trained = train(tmp_path, PruningSpec(0.6, 1, 5, frequency=2, allocation="global"), 5)
    assert report_model(trained.prefix).faults == ()

    def change(values: Values) -> None:
        values["conv/mask"] = np.ones_like(values["conv/mask"])

    tampered(trained, change)
    zeros = int(np.sum(trained.values["conv/mask"] == 0))
    (fault,) = report_model(trained.prefix).faults
    assert fault.kind == "off target"
    assert f"3 weights: {zeros:,} entries denser than requested" in fault.text


def test_a_spec_can_be_given_in_place_of_the_plan(trained: Trained) -> None:
    os.remove(os.path.join(os.path.dirname(trained.prefix), PLAN_FILE))
    assert all(layer.request is None for layer in report_model(trained.prefix).layers)
    given = report_model(trained.prefix, SPEC)
    assert (given.faults, given.spec_from, given.spec) == ((), "", SPEC.to_dict())
    other = report_model(trained.prefix, PruningSpec(0.9, 1, 9, frequency=3))
    assert {kind for kind, _ in _faults(other)} == {"off target"}
    with pytest.raises(PlanError, match="matches none"):
        report_model(trained.prefix, PruningSpec(0.9, 1, 9, include=("nothing",)))


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\x00", '{"sites": [], "skips": [], "spec": {"a": 1}}'])
def test_a_plan_that_is_none_is_one_error(content: str, trained: Trained) -> None:
    path = os.path.join(os.path.dirname(trained.prefix), PLAN_FILE)
    with open(path, "w") as stream:
        stream.write(content)
    with pytest.raises(SourceError, match=f"^{path}: expected the plan of this model"):
        report_model(trained.prefix)


def test_a_graph_without_tensors_is_one_error(trained: Trained, tmp_path: Any) -> None:
    (tmp_path / "alone").mkdir()
    os.rename(trained.prefix + ".meta", str(tmp_path / "alone" / "graph.meta"))
    with pytest.raises(SourceError, match="found a graph alone"):
        report_model(str(tmp_path / "alone" / "graph.meta"))


def test_a_report_is_json(trained: Trained) -> None:
    def change(values: Values) -> None:
        values["conv/threshold"] = np.float32(np.nan)

    tampered(trained, change)
    report = report_model(trained.prefix)
    plain = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert [layer["variable"] for layer in plain["layers"]] == [layer.variable for layer in report.layers]
    layer = next(layer for layer in plain["layers"] if layer["variable"] == "conv/kernel")
    assert layer["threshold"] == "nan"
    assert layer["zeros"] == _by_name(report)["conv/kernel"].zeros
    assert plain["totals"]["sparsity"] == report.sparsity
    assert plain["totals"]["layers_counted"] == 4


def test_progress_ends_at_the_whole(trained: Trained) -> None:
    seen = []
    report_model(trained.prefix, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    masks = sum(trained.values[mask].nbytes for mask in WEIGHTS.values())
    assert seen[-1] == (seen[-1][1], report_model(trained.prefix).size.raw + masks)


def test_writing_a_checkpoint_again_changes_no_finding(trained: Trained) -> None:
    """The control of `tampered`: by itself it does nothing."""
    before = report_model(trained.prefix)
    write(trained.prefix, trained.values)
    assert report_model(trained.prefix) == before
