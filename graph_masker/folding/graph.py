"""The .meta file beside a folded checkpoint: the original model's graph, with savers that fit the checkpoint."""

from typing import AbstractSet, Any, Optional

from graph_masker.errors import SourceError
from graph_masker.files import writing
from graph_masker.unmasking import unmask_meta_graph, without_saved


def write_folded_graph(
    meta_graph: Optional[Any], source: Optional[str], slots: AbstractSet[str], path: str
) -> Optional[str]:
    """Writes the original graph of a masked one, rereads and compares it.

    Args:
        meta_graph: of the masked checkpoint; None where it has none.
        source: the file that it was read from, for messages.
        slots: keys that the folded checkpoint lacks; savers no longer hold them.
        path: of the new file.

    Returns:
        None, or why no graph was written.

    Raises:
        OSError: it cannot be written.
        VerificationError: it does not read back as it was written.
    """
    if meta_graph is None:
        return "the masked checkpoint has none"
    try:
        original = without_saved(unmask_meta_graph(meta_graph, source or path), slots)
    except SourceError as error:
        return str(error)
    writing.write_checked(path, original.SerializeToString(deterministic=True))
    return None
