"""A classifier with the detector's backbone, trained on single digits: what the detector starts from.

Faster and Mask R-CNN see one image per step, too few for the statistics of batch norm. So they are trained from a
classifier, whose statistics they keep: usually one of ImageNet, here slim's own Inception V2 on digits.
"""

from pathlib import Path
from typing import Callable

import numpy as np
import tensorflow.compat.v1 as tf
from nets import inception_v2
from tensorflow.contrib import slim

from examples.digit_scenes.digits import CLASSES, Digits
from examples.digit_scenes.scenes import SceneStyle, make_scenes

SIDE = 64  # pixels
IMAGES = 4000
BATCH = 16
RATE = 0.003


def train(
    digits: Digits, style: SceneStyle, steps: int, seed: int, checkpoint: Path, progress: Callable[[int], None]
) -> float:
    """Trains slim's Inception V2 on scenes of one digit each and saves it.

    Args:
        digits: What to learn from.
        style: The detector's scenes, of which size of digits and noise are taken.
        steps: How many.
        seed: Seed of data and weights.
        checkpoint: Prefix to save under.
        progress: Called with the number of steps done.

    Returns:
        Fraction of right answers in the batches of the last 20 steps.
    """
    alone = style._replace(side=SIDE, fewest_digits=1, most_digits=1)
    scenes = list(make_scenes(digits, IMAGES, alone, seed))
    images = np.stack([scene.image for scene in scenes])
    labels = np.array([scene.labels[0] for scene in scenes])
    random = np.random.RandomState(seed)
    rights = []
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(seed)
        image = tf.placeholder(tf.uint8, [BATCH, SIDE, SIDE, 3])
        label = tf.placeholder(tf.int64, [BATCH])
        # As in the API's extractor, but for the decay: that of the default is for many more steps. Statistics that are
        # far from the features' own let these grow beyond all bounds once they are fixed.
        params = {"decay": min(0.97, max(0.0, 1.0 - 5.0 / steps)), "scale": True, "epsilon": 0.001}
        norm = {"normalizer_fn": slim.batch_norm, "normalizer_params": params}
        layers = [slim.conv2d, slim.separable_conv2d]
        with slim.arg_scope(inception_v2.inception_v2_arg_scope()), slim.arg_scope(layers, **norm):
            # Pixels as the API's extractor scales them.
            pixels = 2.0 / 255.0 * tf.cast(image, tf.float32) - 1.0
            logits, _ = inception_v2.inception_v2(pixels, CLASSES, is_training=True)
        right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), label), tf.float32))
        tf.losses.sparse_softmax_cross_entropy(label, logits)
        step = tf.train.get_or_create_global_step()
        optimizer = tf.train.AdamOptimizer(tf.train.cosine_decay(RATE, step, steps))
        train_op = slim.learning.create_train_op(tf.losses.get_total_loss(), optimizer, step)
        saver = tf.train.Saver(slim.get_model_variables())
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            for done in range(1, steps + 1):
                chosen = random.randint(len(labels), size=BATCH)
                _, share = session.run([train_op, right], {image: images[chosen], label: labels[chosen]})
                rights.append(share)
                progress(done)
            saver.save(session, str(checkpoint), write_meta_graph=False)
    return float(np.mean(rights[-20:]))
