"""Strategies of TensorFlow 1.15 for several processes, as far as they work there."""

import json

import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker.schedule import kept_entries
from tests.distribution import member
from tests.distribution.cluster import Cluster, torn

TARGET = 0.9
FIRST, SECOND, CHIEF = ("worker", 0), ("worker", 1), ("chief", 0)


def _request(folder, strategy, **options):
    spec = {"target_sparsity": TARGET, "begin_step": 0, "end_step": 40, "frequency": 10}
    request = member.Request(f"{folder}/run", 80, spec, pause=0.02, strategy=strategy)
    return request._replace(**options)


def _cluster(request, **counts):
    command = ["-m", "tests.distribution.member", json.dumps(request._asdict())]
    return Cluster(f"{request.folder}-said", command, counts)


def _check_end(folder):
    held = read_all(tf.train.latest_checkpoint(folder))
    for name in member.SHAPES:
        mask = held[name.replace("kernel", "mask")]
        assert mask.sum() == kept_entries(mask.size, TARGET)
    return held


@pytest.mark.slow
def test_each_process_of_multi_worker_mirrored_strategy_updates_its_own_copy(tmp_path):
    request = _request(tmp_path, "MultiWorkerMirroredStrategy", steps=60)
    told = []
    # The second time all goes on from the checkpoint, when the schedule has ended.
    for steps in (60, 80):
        with _cluster(request._replace(steps=steps), worker=2) as cluster:
            cluster.start()
            cluster.wait()
            first, second = ({line["step"]: line for line in cluster.steps(task)} for task in (FIRST, SECOND))
            assert list(first) == list(range(1, steps + 1))
            # The same masks after every step.
            assert first == second
            assert cluster.first(FIRST, "updates")
            assert cluster.first(SECOND, "updates")
            told.append(first)
    assert len({line["masks"] for line in told[0].values()}) >= 4
    assert {line["masks"] for step, line in told[1].items() if step >= 40} == {told[0][60]["masks"]}
    held = _check_end(request.folder)
    assert held["global_step"] == 80


@pytest.mark.slow
def test_parameter_server_strategy(tmp_path):
    request = _request(tmp_path, "ParameterServerStrategy", workers=2, trace=50, steps=120)
    with _cluster(request, ps=2, chief=1, worker=1) as cluster:
        cluster.start()
        cluster.wait()
        assert not torn(cluster.steps(CHIEF), cluster.steps(FIRST))
        assert cluster.first(CHIEF, "updates")
        assert not cluster.first(FIRST, "updates")
        for task in (CHIEF, FIRST):
            places, (received, _) = cluster.first(task, "places"), cluster.traffic(task)
            assert places["model_pruning/last_mask_update_step"].startswith("/job:ps/")
            for name in member.SHAPES:
                mask = name.replace("kernel", "mask")
                assert places[mask] == places[name] == places[f"{name}/masked_weight"]
            assert not [name for name in received if "/mask/" in name or name.endswith("/mask")]
    _check_end(request.folder)
