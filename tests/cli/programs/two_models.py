"""Two models, each in a graph of its own, saved by their names; and one of scalars alone.

`python two_models.py DIRECTORY DIRECTORY`
"""

import os
import sys

import tensorflow.compat.v1 as tf

from tests.session.nets import CONFIG, optimizer


def train(units: int, directory: str) -> None:
    with tf.Graph().as_default():
        hidden = tf.layers.dense(tf.ones([2, 6]), units, name=f"hidden{units}")
        train_op = optimizer().minimize(tf.reduce_mean(tf.square(hidden - 1)), tf.train.get_or_create_global_step())
        saver = tf.train.Saver()
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(12):
                session.run(train_op)
            saver.save(session, os.path.join(directory, f"model{units}.ckpt"))


def calibrate() -> None:
    with tf.Graph().as_default():
        temperature = tf.get_variable("temperature", [])
        train_op = optimizer().minimize(tf.square(temperature - 1))
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            session.run(train_op)


calibrate()
for number, where in zip((8, 20), sys.argv[1:]):
    os.makedirs(where, exist_ok=True)
    train(number, where)
