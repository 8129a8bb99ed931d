"""The average of (w * gradient)^2: weights whose loss would change the loss least go.

Source: Molchanov, Mallya, Tyree, Frosio & Kautz, "Importance Estimation for Neural Network Pruning", 2019, equation 8.
"""

import tensorflow.compat.v1 as tf

from graph_masker.criteria.criterion import Criterion

RULE = Criterion("taylor", contribution=lambda weight, gradient: tf.square(weight * gradient), averages=True)
