"""The names that a spec may use, and its limits: one place for the checks, the schema and the engine."""

# Sparsity over the steps: Zhu & Gupta's polynomial; the target from the first update on; one update, at the target.
POLYNOMIAL, CONSTANT, ONE_SHOT = CURVES = ("polynomial", "constant", "one_shot")

# How the target is shared out: the same for each weight; one threshold for a group; Erdos-Renyi-Kernel.
UNIFORM, GLOBAL, ERK = ALLOCATIONS = ("uniform", "global", "erk")

# What says which entries go: |w|; accumulated -w * gradient; averaged (w * gradient)^2.
MAGNITUDE, MOVEMENT, TAYLOR = CRITERIA = ("magnitude", "movement", "taylor")

# The group, for one threshold over several weights, of all weights that no rule puts elsewhere.
DEFAULT_GROUP = "all"

# The step of the last update is kept as int32, as tf.contrib.model_pruning keeps it.
LAST_STEP = 2**31 - 1

# A callable schedule is kept as its values; more updates than this would make specs and plans unwieldy.
MOST_VALUES = 100_000

# A weight's own sparsity is the schedule's times the quotient of the two targets, in float32; below this the spec's
# target counts as 0, and nothing can be in proportion to it.
SMALLEST_PROPORTION = 1e-30
