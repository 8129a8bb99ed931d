"""Compiles, fits and saves a Keras model; goes on with a saved one. `python keras_fit.py FILE EPOCHS`"""

import os
import sys

import numpy as np
import tensorflow as tf

from tests.helpers.running import normal_value

file, epochs = sys.argv[1], int(sys.argv[2])
tf.compat.v1.set_random_seed(1)
if os.path.exists(file):
    model = tf.keras.models.load_model(file)
else:
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Reshape([4, 3, 1], input_shape=(12,)),
            tf.keras.layers.Conv2D(5, 2, activation="relu", name="conv"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(4, name="dense"),
        ]
    )
    model.compile(tf.keras.optimizers.Adam(0.01), "mse")
x, y = normal_value("x", [16, 12]), normal_value("y", [16, 4])
model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, shuffle=False)
model.save(file)
np.save(file + ".predicted.npy", model.predict(x))
print("iterations", tf.keras.backend.get_value(model.optimizer.iterations))
