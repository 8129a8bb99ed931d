"""Two ops that no rule covers, rows of an embedding and a mirrored kernel: with a rule for each, both are pruned.

python examples/custom_rule.py
"""

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker
from rewriters import DEFAULT_RULES, ReadRule, WeightRule

RULES = (
    *DEFAULT_RULES,
    # GatherV2(table, indices, axis) reads rows of its input 0. Its output's last axis is the table's last one.
    WeightRule("GatherV2", weight_inputs=(0,), family="embedding", data_input=1, output_axes=((-1,),)),
    # A weight may pass ReverseV2(tensor, axis): it moves zeros and makes none. Its gradient is a ReverseV2, too.
    ReadRule("ReverseV2", adjoint="ReverseV2"),
)


def build():
    """Returns the loss of a model of sentences of 12 words."""
    words = tf.constant(np.random.RandomState(0).randint(200, size=[32, 12]))
    table = tf.get_variable("table", [200, 16])
    kernel = tf.get_variable("kernel", [3, 16, 8])
    net = tf.nn.conv1d(tf.nn.embedding_lookup(table, words), tf.reverse(kernel, [0]), 1, "SAME")
    return tf.reduce_mean(tf.square(tf.layers.dense(tf.layers.flatten(net), 1, name="answer") - 1.0))


def main():
    """Plans with and without the rules, and trains with them."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    spec = graph_masker.PruningSpec(target_sparsity=0.75, begin_step=0, end_step=40, frequency=10)

    with tf.Graph().as_default() as graph:
        plan = graph_masker.plan_graph(graph, spec, losses=[build()])
        print("without them:", ", ".join(site.variable for site in plan.sites))
        for skip in plan.skips:
            print(f"  {skip.variable}: {skip.reason}")

    with tf.Graph().as_default(), graph_masker.masking(spec, rules=RULES) as masker:
        train_op = tf.train.AdamOptimizer().minimize(build(), tf.train.get_or_create_global_step())
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for _ in range(50):
                session.run(train_op)
            print("with them:")
            for name, mask in masker.masks.items():
                print(f"  {name}: {1 - session.run(mask).mean():.4f}")


if __name__ == "__main__":
    main()
