"""A training script for parameter servers as such scripts were written before Estimators; nothing of it knows of masks.

`python -m tests.distribution.script REQUEST`, and in CLUSTER what TF_CONFIG would hold.
"""

import json
import os
import sys

import tensorflow.compat.v1 as tf

from tests.distribution import member


def main() -> None:
    member.ask_often()
    request = member.Request(**json.loads(sys.argv[1]))
    hosts = tf.train.ClusterSpec(json.loads(os.environ["CLUSTER"])["cluster"])
    kind, index = member.task()["type"], member.task()["index"]
    server = tf.train.Server(hosts, kind, index, config=member.session_config())
    if kind == "ps":
        server.join()
    with tf.device(tf.train.replica_device_setter(worker_device=f"/job:{kind}/task:{index}", cluster=hosts)):
        step = tf.train.get_or_create_global_step()
        images, labels = tf.data.make_one_shot_iterator(member.batches(kind, index)).get_next()
        spec = member.model_fn(images, labels, tf.estimator.ModeKeys.TRAIN, request)
    hooks = [tf.train.StopAtStepHook(last_step=request.steps), member.Look(request)]
    with tf.train.MonitoredTrainingSession(
        server.target,
        is_chief=kind == "chief",
        checkpoint_dir=request.folder,
        hooks=hooks,
        save_checkpoint_steps=request.save_steps,
        save_summaries_steps=None,
        save_summaries_secs=None,
        config=member.session_config(),
    ) as session:
        while not session.should_stop():
            session.run(spec.train_op)
    del step


if __name__ == "__main__":
    main()
