"""masking() in processes of which one alone, the chief, is to update masks."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, UsageError, masking
from graph_masker.schedule import kept_entries

SPEC = PruningSpec(target_sparsity=0.75, begin_step=1, end_step=4, frequency=1)
UPDATE = "model_pruning/update_masks"


def _model():
    images = tf.constant(np.random.RandomState(0).rand(8, 6), tf.float32)
    loss = tf.reduce_mean(tf.square(tf.layers.dense(images, 8, name="only") - 1.0))
    return tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_or_create_global_step())


def _updates(graph):
    return [op.name for op in graph.get_operations() if op.name.startswith("model_pruning/update")]


def _mask(session):
    # A hooked session gives no access to its graph once it is finalized, but its values can be fetched.
    return session.run(session.graph.get_tensor_by_name("only/kernel/masked_weight:0")) != 0


def test_a_worker_sees_what_the_chief_updates():
    server = tf.train.Server.create_local_server()
    chief, worker = tf.Graph(), tf.Graph()
    with masking(SPEC):
        with chief.as_default():
            first = _model()
            of_chief = tf.train.MonitoredTrainingSession(server.target, is_chief=True)
        with worker.as_default():
            second = _model()
            of_worker = tf.train.MonitoredTrainingSession(server.target, is_chief=False)
        assert _updates(chief)
        assert not _updates(worker)
        with of_chief, of_worker:
            # Three steps of the worker's change no mask; the chief's next step makes good for them.
            for _ in range(3):
                of_worker.run(second)
            assert _mask(of_worker).all()
            of_chief.run(first)
            assert of_chief.run("global_step:0") == 4
            assert _mask(of_chief).sum() == kept_entries(48, 0.75)
            assert np.array_equal(_mask(of_chief), _mask(of_worker))


@pytest.mark.parametrize("updates", (None, True, False))
def test_a_supervisor_that_is_no_chief(updates):
    with tf.Graph().as_default() as graph, masking(SPEC, updates=updates):
        with tf.device("/job:ps/task:0"):
            _model()
        tf.train.Supervisor(is_chief=False)
    assert bool(_updates(graph)) == (updates is True)


def test_a_process_that_is_told_not_to_update():
    with tf.Graph().as_default() as graph, masking(SPEC, updates=False) as masker:
        train = _model()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for _ in range(5):
                session.run(train)
            assert session.run(masker.masks["only/kernel"]).all()
    assert masker.update_op is None
    assert not _updates(graph)


def test_the_environment_tells_who_is_chief(monkeypatch):
    cluster = '"cluster": {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}'
    for kind in ("worker", "chief"):
        monkeypatch.setenv("TF_CONFIG", f'{{{cluster}, "task": {{"type": "{kind}", "index": 0}}}}')
        with tf.Graph().as_default() as graph, masking(SPEC):
            _model()
        assert bool(_updates(graph)) == (kind == "chief")


def test_a_worker_that_is_found_out_too_late():
    with tf.Graph().as_default(), masking(SPEC):
        _model()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
        with pytest.raises(UsageError, match=r"this process is a worker, not the chief.*give masking updates=False"):
            tf.train.MonitoredTrainingSession(tf.train.Server.create_local_server().target, is_chief=False)
