"""Sessions with fixed threads."""

from typing import Any

import tensorflow.compat.v1 as tf

# Two cores are what the budgets were set on; more would help contrib's sort and our selection alike.
THREADS = 2


def session_for(graph: Any) -> Any:
    """Returns a session with `THREADS` threads within ops and as many among ops, its variables initialized."""
    config = tf.ConfigProto(intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=THREADS)
    session = tf.Session(graph=graph, config=config)
    with graph.as_default():
        session.run(tf.global_variables_initializer())
    return session
