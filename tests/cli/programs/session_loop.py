"""A plain session and its Saver. `python session_loop.py DIRECTORY STEPS`"""

import os
import sys

import tensorflow as tf

from tests.session.nets import CONFIG, loss, optimizer

directory, steps = sys.argv[1], int(sys.argv[2])
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
os.makedirs(directory, exist_ok=True)
step = tf.compat.v1.train.get_or_create_global_step()
train_op = optimizer().minimize(loss(), step)
saver = tf.compat.v1.train.Saver()
with tf.compat.v1.Session(config=CONFIG) as session:
    session.run(tf.compat.v1.global_variables_initializer())
    latest = tf.train.latest_checkpoint(directory)
    if latest:
        saver.restore(session, latest)
    print("from", session.run(step))
    while session.run(step) < steps:
        session.run(train_op)
    saver.save(session, os.path.join(directory, "model.ckpt"), step)
print("done", steps)
