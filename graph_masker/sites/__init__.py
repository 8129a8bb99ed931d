"""Finding what can be masked: variables whose values reach a weight input, and every op that reads them. Pure."""

from graph_masker.sites.finding import Candidate, Consumer, Findings, find_sites

__all__ = ["Candidate", "Consumer", "Findings", "find_sites"]
