"""|w|: small weights go. Source: Zhu & Gupta, "To prune, or not to prune", 2017."""

from graph_masker.criteria.criterion import Criterion

RULE = Criterion("magnitude")
