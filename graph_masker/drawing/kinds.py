"""What a node or an edge of a neighbourhood is: the values of its attribute ``kind``."""

# Kinds of nodes.
WEIGHT, MASK, PRODUCT, READ, CONSUMER, GRADIENT, RAW = (
    "weight",
    "mask",
    "product",
    "read",
    "consumer",
    "gradient",
    "raw reader",
)
# Kinds of edges: a weight on its way; the same where the masked weight takes its place once the plan is applied; a
# mask; a raw value; activations, from one consumer to the next one, with any number of ops between.
VALUE, MASKED_HERE, MASKS, RAW_VALUE, FLOW = "value", "masked here", "masks", "raw value", "flow"
