"""A training script as people write them: it knows nothing of pruning. `python script.py MODEL_DIR`

Its input skips the batches of the steps that a checkpoint holds already.
"""

import sys
from typing import Any

import tensorflow.compat.v1 as tf

from tests.kill.models import STEPS, batch, exact_config, plain


def _remaining() -> Any:
    latest = tf.train.latest_checkpoint(sys.argv[1])
    done = 0 if latest is None else int(tf.train.load_variable(latest, "global_step"))
    return tf.data.Dataset.range(STEPS).skip(done).map(batch)


if __name__ == "__main__":
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.estimator.Estimator(plain, sys.argv[1], exact_config()).train(_remaining, max_steps=STEPS)
