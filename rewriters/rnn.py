"""Recurrent cells that are one op: they take the whole kernel, of all gates, as an input.

Peephole weights (``wci``, ``wcf``, ``wco``) are vectors and stay dense.
"""

from rewriters.rule import WeightRule

RULES = (
    WeightRule("LSTMBlockCell", weight_inputs=(3,), family="rnn", data_input=0),
    WeightRule("BlockLSTM", weight_inputs=(4,), family="rnn", data_input=1),
    WeightRule("GRUBlockCell", weight_inputs=(2, 3), family="rnn", data_input=0),
)
