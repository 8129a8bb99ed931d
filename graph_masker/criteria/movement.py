"""The sum of -w * gradient over training: weights that move towards zero go.

Source: Sanh, Wolf & Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020, equation 4 (without the learning
rate, which changes no ranking while it is constant).
"""

from graph_masker.criteria.criterion import Criterion

RULE = Criterion("movement", signed=True, contribution=lambda weight, gradient: -weight * gradient)
