"""Between-graph replication by TF_CONFIG and train_and_evaluate: real processes on this machine."""

import glob
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import fold_checkpoint
from graph_masker.schedule import kept_entries
from tests.distribution import member
from tests.distribution.cluster import Cluster, torn
from tests.helpers.bits import assert_same_bits, differences

CHIEF, WORKER, OTHER, EVALUATOR = ("chief", 0), ("worker", 0), ("worker", 1), ("evaluator", 0)
TARGET = 0.9
# What pruning sends a chief on top: whether masks are due, whether weights are finite, and counts for the log.
FEW = 64


def _cluster(folder, request, **counts):
    command = ["-m", "tests.distribution.member", json.dumps(request._asdict())]
    return Cluster(f"{folder}/said", command, counts)


def _request(folder, end, **options):
    spec = {"target_sparsity": TARGET, "begin_step": 0, "end_step": end, "frequency": 10}
    return member.Request(**{"folder": f"{folder}/run", "steps": end + 50, "spec": spec, "pause": 0.02, **options})


def _agree(cluster, *workers, lines=0):
    """Checks that workers saw the chief's masks, and that they saw many of them."""
    chief = cluster.steps(CHIEF)
    for worker in workers:
        seen = cluster.steps(worker, lines)
        assert not torn(chief, seen)
        known = {line["masks"] for line in chief}
        assert len({line["masks"] for line in seen} & known) >= 5
        # Negative control: masks that are another's are told.
        assert torn(chief, [{**line, "masks": "0"} for line in seen])


def _check_end(folder):
    """Checks that the last checkpoint is as sparse as asked, exactly; returns what it holds."""
    held = read_all(tf.train.latest_checkpoint(f"{folder}/run"))
    for name, shape in member.SHAPES.items():
        mask = held[name.replace("kernel", "mask")]
        assert mask.shape == shape
        assert mask.sum() == kept_entries(mask.size, TARGET)
        assert set(np.unique(mask)) == {0.0, 1.0}
    return held


def _beside(places, parts=1):
    """Checks that all that masks a weight is where the weight is, on a parameter server."""
    servers = set()
    for name in member.SHAPES:
        for part in [""] if parts == 1 else [f"/part_{number}" for number in range(parts)]:
            place, mask = places[f"{name}{part}"], name.replace("kernel", "mask")
            assert place.startswith("/job:ps/task:")
            own = [f"{mask}{part}", f"{mask}{part}/read", f"{name}{part}/masked_weight"]
            own.extend(op for op in places if op.startswith(f"gradients/{name}{part}/masked_weight_grad/"))
            assert len(own) > 3
            assert {places[op] for op in own} == {place}
            servers.add(place)
    assert len(servers) == 2


def _entries(name):
    return int(np.prod(member.SHAPES[name]))


def test_masks_stay_on_the_servers_and_the_chief_updates_them(tmp_path):
    with _cluster(tmp_path, _request(tmp_path, 80, trace=40, workers=2), ps=2, chief=1, worker=1) as cluster:
        cluster.start()
        cluster.wait()
        _agree(cluster, WORKER)
        for task in (CHIEF, WORKER):
            _beside(cluster.first(task, "places"))
            received, sent = cluster.traffic(task)
            for name in member.SHAPES:
                assert received[f"{name}/masked_weight"] == 4 * _entries(name)
            assert not [name for name in (*received, *sent) if name.endswith(("mask", "mask/read", "kernel/read"))]
        assert cluster.first(CHIEF, "updates")
        assert not cluster.first(WORKER, "updates")
    _check_end(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("options", ({}, {"sync": True}, {"partitions": 2}), ids=("async", "sync", "partitioned"))
def test_whole_clusters(tmp_path, options, monkeypatch):
    request = _request(tmp_path, 300, trace=150, workers=3, save_steps=100, **options)
    with _cluster(tmp_path, request, ps=2, chief=1, worker=2, evaluator=1) as cluster:
        cluster.start()
        cluster.wait()
        _agree(cluster, WORKER, OTHER)
        for task in (CHIEF, WORKER, OTHER):
            _beside(cluster.first(task, "places"), request.partitions)
        assert cluster.first(CHIEF, "updates")
        assert not cluster.first(WORKER, "updates")
        assert not cluster.first(OTHER, "updates")
        ours = {task: cluster.traffic(task) for task in (CHIEF, WORKER, OTHER)}
    dense = request._replace(spec=None, folder=f"{tmp_path}/dense", steps=170)
    with _cluster(f"{tmp_path}/dense-said", dense, ps=2, chief=1, worker=2) as cluster:
        cluster.start()
        cluster.wait()
        plain = {task: cluster.traffic(task) for task in (CHIEF, WORKER, OTHER)}
    for task in (WORKER, OTHER):
        # The same bytes: in place of every weight its product, and gradients as ever.
        assert [sum(found.values()) for found in ours[task]] == [sum(found.values()) for found in plain[task]]
        assert sum(ours[task][0].values()) > 4 * sum(_entries(name) for name in member.SHAPES)
    assert 0 <= sum(ours[CHIEF][0].values()) - sum(plain[CHIEF][0].values()) <= FEW
    held = _check_end(tmp_path)
    if request.partitions > 1:
        for name, shape in member.SHAPES.items():
            mask = held[name.replace("kernel", "mask")]
            # Each part for itself would keep as many. Those of the first are larger.
            assert mask[: shape[0] // 2].sum() > 0.9 * mask.sum()
    _assert_same_evaluation(tmp_path, held, monkeypatch)


def _assert_same_evaluation(tmp_path, held, monkeypatch):
    """The evaluator's last result is, bit for bit, that of the original model with the folded checkpoint."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    folded = fold_checkpoint(f"{tmp_path}/run", f"{tmp_path}/folded/model.ckpt").prefix
    told = {}
    for path in sorted(glob.glob(f"{tmp_path}/run/eval/events*")):
        for event in tf.train.summary_iterator(path):
            for value in event.summary.value:
                if value.tag == "loss":
                    told[event.step] = value.simple_value
    assert max(told) == held["global_step"]
    losses = {}
    for name, prefix in (("folded", folded), ("raw", tf.train.latest_checkpoint(f"{tmp_path}/run"))):
        config = tf.estimator.RunConfig(
            f"{tmp_path}/judge",
            session_config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2),
        )
        judge = tf.estimator.Estimator(member.model_fn, config=config, params=member.Request("", 0, None))
        losses[name] = judge.evaluate(lambda: member.batches(*EVALUATOR), steps=2, checkpoint_path=prefix)["loss"]
    expected = {"": np.float32(told[max(told)])}
    assert_same_bits({"": losses["folded"]}, expected)
    assert differences({"": losses["raw"]}, expected)


@pytest.mark.slow
def test_a_script_that_knows_nothing_of_masks(tmp_path):
    request = _request(tmp_path, 80, trace=40, workers=2)
    options = ["--target-sparsity", f"{TARGET}", "--begin-step", "0", "--end-step", "80", "--frequency", "10"]
    command = ["-m", "graph_masker.cli", "run", *options, "--", "-m", "tests.distribution.script"]
    command.append(json.dumps(request._replace(spec=None)._asdict()))
    counts = {"ps": 2, "chief": 1, "worker": 1}
    with Cluster(f"{tmp_path}/said", command, counts, variable="CLUSTER") as cluster:
        cluster.start()
        cluster.wait()
        _agree(cluster, WORKER)
        for task in (CHIEF, WORKER):
            places, (received, _) = cluster.first(task, "places"), cluster.traffic(task)
            _beside(places)
            assert places["model_pruning/last_mask_update_step"].startswith("/job:ps/")
            assert not [name for name in received if name.endswith(("mask", "mask/read", "kernel/read"))]
        assert cluster.first(CHIEF, "updates")
        assert not cluster.first(WORKER, "updates")
    _check_end(tmp_path)
    assert os.path.exists(f"{tmp_path}/run/graph_masker_plan.json")


@pytest.mark.slow
@pytest.mark.parametrize("sync", (False, True), ids=("async", "sync"))
@pytest.mark.parametrize("victim", (WORKER, CHIEF, ("ps", 0), ("ps", 1)), ids=lambda task: "-".join(map(str, task)))
def test_killed_and_started_again(tmp_path, victim, sync):
    # The schedule ends early: masks of the target are to be seen after the kill, and never fewer zeros.
    request = _request(tmp_path, 100, workers=2, save_steps=20, sync=sync, steps=300)
    with _cluster(tmp_path, request, ps=2, chief=1, worker=1) as cluster:
        cluster.start()
        cluster.wait_for_step(CHIEF, 140)
        lines = {task: len(cluster.said(task)) for task in (CHIEF, WORKER)}
        cluster.kill(victim)
        cluster.start(victim)
        for task in (CHIEF, WORKER):
            cluster.wait_for_step(task, 200, lines[task])
        if not sync:
            cluster.wait()
        # SyncReplicasOptimizer loses tokens when a process is killed: at the end the last worker may wait for another
        # one that has ended, with masks or without. So these do not wait for its end.
        _agree(cluster, WORKER)
        for task in (CHIEF, WORKER):
            after = cluster.steps(task, lines[task])
            assert len(after) >= 5
            assert {round(line["sparsity"], 6) for line in after if line["last"] >= [100]} == {TARGET}
            # A checkpoint from before the last update would be of step 80 at the earliest.
            assert min(line["sparsity"] for line in after) > 0.8
    _check_end(tmp_path)
    assert os.path.exists(f"{tmp_path}/run/checkpoint")
