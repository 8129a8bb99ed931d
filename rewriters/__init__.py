"""What graph_masker knows of single op types: which input is the weight, what a weight may pass through.

One small file per family; adding an op is one rule here and one row in ``fixtures/``.
"""

from typing import Tuple, Union

from rewriters import conv, depthwise, matmul, reads, rnn
from rewriters.rule import Adjoint, ReadRule, WeightRule

Rule = Union[WeightRule, ReadRule]

DEFAULT_RULES: Tuple[Rule, ...] = (*conv.RULES, *depthwise.RULES, *matmul.RULES, *rnn.RULES, *reads.RULES)

__all__ = ["DEFAULT_RULES", "Adjoint", "ReadRule", "Rule", "WeightRule"]
