"""A MonitoredTrainingSession under tf.app.run, with data from a graph of its own. `python monitored.py --help`"""

import numpy as np
import tensorflow.compat.v1 as tf

from tests.session.nets import CONFIG, loss, optimizer

flags = tf.app.flags
flags.DEFINE_string("directory", None, "Where checkpoints go.")
flags.DEFINE_integer("steps", 12, "Last step.")
FLAGS = flags.FLAGS


def main(argv):
    tf.logging.set_verbosity(tf.logging.ERROR)
    with tf.Graph().as_default(), tf.Session() as session:
        batch = tf.data.Dataset.range(3).map(lambda number: 2 * number).batch(3).make_one_shot_iterator().get_next()
        print("read", np.sum(session.run(batch)), "rest", argv[1:])
    train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
    hooks = [tf.train.StopAtStepHook(last_step=FLAGS.steps)]
    with tf.train.MonitoredTrainingSession(checkpoint_dir=FLAGS.directory, hooks=hooks, config=CONFIG) as session:
        while not session.should_stop():
            session.run(train_op)
    print("done", FLAGS.steps)
    return 0


if __name__ == "__main__":
    tf.app.run()
