"""A dense checkpoint on disk, and nothing else: pruned in one shot, and made one that goes on training with masks.

    python examples/files.py build/files

`graph-masker prune`, `rewrite`, `fold`, `verify` and `report` do the same on the command line.
"""

import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker


def train_densely(prefix):
    """Somebody's training, whose code is lost afterwards: 200 steps on a plain session."""
    random = np.random.RandomState(0)
    inputs = random.normal(size=[500, 32]).astype(np.float32)
    answers = np.tanh(inputs @ random.normal(size=[32, 8])).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        hidden = tf.layers.dense(inputs, 64, tf.nn.relu, name="hidden")
        loss = tf.losses.mean_squared_error(answers, tf.layers.dense(hidden, 8, name="answer"))
        step = tf.train.get_or_create_global_step()
        tf.add_to_collection(tf.GraphKeys.TRAIN_OP, tf.train.AdamOptimizer(0.01).minimize(loss, step))
        session.run(tf.global_variables_initializer())
        run_train_op(session, 200)
        return tf.train.Saver().save(session, prefix, step)


def run_train_op(session, steps):
    """Runs what the graph's collection of train ops holds."""
    for _ in range(steps):
        session.run(session.graph.get_collection(tf.GraphKeys.TRAIN_OP))


def go_on(prefix, steps):
    """Trains a checkpoint on by its own .meta file, and saves it."""
    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.import_meta_graph(prefix + ".meta")
        saver.restore(session, prefix)
        run_train_op(session, steps)
        return saver.save(session, prefix.rpartition("-")[0], tf.train.get_global_step())


def main(directory):
    """Prunes, rewrites, trains on, folds, and checks each file against the one that it was made of."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    dense, pruned, masked, folded = (os.path.join(directory, name) for name in ("dense", "pruned", "masked", "folded"))
    os.makedirs(dense, exist_ok=True)
    train_densely(os.path.join(dense, "model.ckpt"))
    for site in graph_masker.inspect_model(dense).sites:
        print(f"{site.variable} {list(site.shape)}, read by {', '.join(site.op_types)}")

    print("\nin one shot")
    spec = graph_masker.PruningSpec(target_sparsity=0.5, begin_step=200, end_step=300, frequency=20)
    result = graph_masker.prune_model(dense, pruned, spec, overwrite=True)
    print(f"pruned: sparsity {result.sparsity}")
    print("\n".join(graph_masker.verify_model(pruned, against=dense, may_be_pruned=True).checks))

    print("\nwhile it trains on")
    rewritten = graph_masker.rewrite_checkpoint(dense, masked, spec, overwrite=True)
    go_on(rewritten.prefix, steps=150)
    print("\n".join(graph_masker.verify_model(masked).checks))
    print(f"folded: sparsity {graph_masker.fold_checkpoint(masked, folded, overwrite=True).sparsity}")
    print("\n".join(graph_masker.verify_model(folded, against=masked).checks))
    faults = [finding for finding in graph_masker.report_model(masked, spec).findings if finding.is_fault]
    print(f"faults that the report finds: {len(faults)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
