"""Keras in graph mode, pruned while it is fitted; what Keras saves holds the zeros, and no masks.

python examples/keras_graph_mode.py build/keras.h5
"""

import sys

import numpy as np
import tensorflow as tf

import graph_masker


def build():
    """A small net, as anyone writes it."""
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Conv2D(16, 3, activation="relu", input_shape=[8, 8, 1], name="conv"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(64, activation="relu", name="hidden"),
            tf.keras.layers.Dense(4, activation="softmax", name="answer"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data(seed):
    """1000 images of noise, one quarter of each brighter than the others, and which."""
    random = np.random.RandomState(seed)
    labels = random.randint(4, size=1000)
    images = random.normal(size=[1000, 8, 8, 1]).astype(np.float32)
    for image, label in zip(images, labels):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 0.8
    return images, labels


def main(path):
    """Fits and saves a model, loads it again and counts its zeros."""
    tf.compat.v1.set_random_seed(1)
    # Whole output channels of the convolution, single entries of the rest; the last layer stays dense.
    spec = graph_masker.PruningSpec(
        target_sparsity=0.8,
        begin_step=20,
        end_step=100,
        frequency=10,
        exclude="answer",
        rules=[{"match": "conv", "structure": "channel", "sparsity": 0.5}],
    )
    with graph_masker.masking(spec):
        model = build()
        model.fit(*data(1), batch_size=50, epochs=8, verbose=0)
        model.save(path)

    tf.keras.backend.clear_session()
    loaded = tf.keras.models.load_model(path)
    print(f"accuracy {loaded.evaluate(*data(2), verbose=0)[1]:.3f}")
    for layer in loaded.layers:
        for weight in layer.get_weights()[:1]:
            print(f"{layer.name}: {int((weight == 0).sum())} of {weight.size} entries are zero")
    kernel = loaded.get_layer("conv").get_weights()[0]
    print("channels of conv without an entry left:", int((kernel == 0).all(axis=(0, 1, 2)).sum()))


if __name__ == "__main__":
    main(*sys.argv[1:])
