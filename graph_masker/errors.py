"""Every error that graph_masker raises on purpose: one line that says what was found and what to do."""


class GraphMaskerError(Exception):
    """Base class: the input is not usable as it is. The command line prints it and exits with code 2."""


class SpecError(GraphMaskerError, ValueError):
    """A pruning specification is out of range, contradicts itself or names what does not exist."""


class PlanError(GraphMaskerError):
    """A graph cannot be masked as asked: nothing to mask, a pattern that matches nothing, a name taken."""


class SurgeryError(GraphMaskerError):
    """A plan does not fit the graph that it is applied to. The graph is as it was."""


class VerificationError(GraphMaskerError):
    """A masked graph or a written file does not keep a guarantee."""


class SourceError(GraphMaskerError):
    """A file or directory given as input is missing, damaged or of another kind."""


class DestinationError(GraphMaskerError):
    """A file or directory cannot be written: it exists, or its place does not."""


class UsageError(GraphMaskerError):
    """graph_masker was called in a situation where it cannot work (eager mode, a finalized graph, ...)."""
