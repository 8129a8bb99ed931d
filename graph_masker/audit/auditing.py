"""report_model: audits the weights and masks that lie in a file. No session, no import."""

from typing import Callable, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from graph_masker.audit import judging
from graph_masker.audit.data import DENSE, MASKED, SPARSE, Layer, Other, Report
from graph_masker.audit.measuring import as_kept, measure
from graph_masker.audit.outline import Graph, Outline, Outlined, first_number, graph_of, outline_of, step_of
from graph_masker.audit.requesting import Asked, asked_of, expected_update, group_requests, request_of
from graph_masker.audit.work import Work
from graph_masker.engine import NEVER
from graph_masker.errors import SourceError
from graph_masker.files.graphs import Reader, read_graph
from graph_masker.files.source import bytes_of, find_source
from graph_masker.inspection import tensors_of
from graph_masker.naming import threshold_of
from graph_masker.plan import LAST_UPDATE_STEP, PLAN_FILE
from graph_masker.shapes import Shapes
from graph_masker.spec import PruningSpec

Progress = Callable[[int, int], None]


def report_model(
    src: str,
    spec: Optional[PruningSpec] = None,
    tags: Iterable[str] = (),
    image_size: Optional[Tuple[int, int]] = None,
    progress: Optional[Progress] = None,
) -> Report:
    """Audits a model in files: what is masked and how sparse it is, against what was asked for, and what is left.

    Weights are read one at a time.

    Args:
        src: a checkpoint, with or without its .meta file, a SavedModel, or a frozen graph.
        spec: what was asked for; None takes it from the plan that `graph-masker run` wrote beside the checkpoint.
        tags: which graph of a SavedModel; see `read_graph`.
        image_size: height and width of the images that the graph is fed with, where it does not tell.
        progress: called with bytes done and bytes in all.

    Raises:
        SourceError: the source is missing or damaged, or holds a graph without weights.
        PlanError, SpecError: the graph has nothing to mask, or the spec does not fit it.
    """
    source = find_source(src)
    meta_graph = None if source.graph_path is None else read_graph(source, tags)
    reader = tensors_of(source, meta_graph)
    if reader is None:
        raise SourceError(f"{src}: expected weights to audit, found a graph alone; `graph-masker inspect` takes it")
    graph = None if meta_graph is None else graph_of(meta_graph)
    outline = outline_of(reader, graph)
    asked = asked_of(source, spec, graph, outline.layers)
    step = step_of(reader, meta_graph)
    last = first_number(reader, [LAST_UPDATE_STEP])
    last = None if last == NEVER else last
    expected = None if asked is None else expected_update(asked.spec, step)
    update = expected if last is None else last
    work = None if graph is None else Work(graph.definition, Shapes(graph.definition, image_size))
    advance = _Advance(reader, outline, progress)
    findings = list(outline.findings)
    layers, others = [], []
    for outlined in outline.layers:
        layer = _layer(reader, outlined, asked, update, work)
        layers.append(layer)
        advance(outlined.variable, outlined.mask)
    for variable, reason in outline.others.items():
        measured = measure(reader.tensor(variable))
        shape = tuple(reader.shape(variable))
        others.append(Other(variable, shape, _entries(shape), measured.zeros, reason, measured.size))
        advance(variable, None)
    any_masks = any(layer.mask is not None or outlined.expects_mask for layer, outlined in zip(layers, outline.layers))
    for layer, outlined in zip(layers, outline.layers):
        findings += judging.judge_layer(layer, outlined, asked, any_masks)
    if asked is not None:
        shapes = {layer.variable: layer.shape for layer in layers}
        findings += judging.judge_groups(group_requests(asked, shapes, update), layers, asked)
        findings += judging.judge_steps(step, last, expected) if any_masks else []
    findings += judging.remark_on_raw(layers)
    is_sparse = any(judging.is_sparse(layer.measured, layer.entries) for layer in layers)
    return Report(
        path=src,
        kind=source.kind.value,
        state=MASKED if any_masks else SPARSE if is_sparse else DENSE,
        step=step,
        last_update=last,
        expected_update=expected,
        spec=None if asked is None else asked.spec.to_dict(),
        spec_from="" if asked is None else asked.origin,
        layers=tuple(layers),
        others=tuple(others),
        findings=tuple(sorted(findings, key=lambda finding: not finding.is_fault)),
        remarks=tuple(_remarks(graph, asked, step, layers, image_size is not None)),
    )


class _Advance:
    """Tells how much has been read."""

    def __init__(self, reader: Reader, outline: Outline, progress: Optional[Progress]) -> None:
        self._reader = reader
        self._progress = progress
        self._done = 0
        keys = [key for item in outline.layers for key in (item.variable, item.mask) if key is not None]
        self._total = sum(self._bytes(key) for key in (*keys, *outline.others))

    def __call__(self, *keys: Optional[str]) -> None:
        self._done += sum(self._bytes(key) for key in keys if key is not None)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _bytes(self, key: str) -> int:
        return bytes_of(self._reader.shape(key), self._reader.dtype(key))


def _entries(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _layer(
    reader: Reader, outlined: Outlined, asked: Optional[Asked], update: Optional[int], work: Optional[Work]
) -> Layer:
    variable, mask = outlined.variable, outlined.mask
    shape = tuple(reader.shape(variable))
    entries = _entries(shape)
    if mask is not None and tuple(reader.shape(mask)) != shape:
        raise SourceError(
            f"{reader.prefix}: expected '{mask}' of the shape of '{variable}', {list(shape)}, found "
            f"{list(reader.shape(mask))}"
        )
    # The mask first: of it one byte an entry is kept while the weight is read.
    kept, odd = (None, 0) if mask is None else as_kept(reader.tensor(mask))
    measured = measure(reader.tensor(variable), kept, odd)
    positions, unknown = (
        (None, "the graph is not there") if work is None else work.positions(outlined.consumers, entries)
    )
    request = None if asked is None else request_of(asked, variable, shape, update)
    if work is None and mask is None and not judging.is_sparse(measured, entries):
        # Without a graph nothing tells weights that are pruned from those left dense, but that they are.
        request = None
    return Layer(
        variable=variable,
        op_types=outlined.op_types,
        shape=shape,
        dtype=reader.dtype(variable).name,
        entries=entries,
        dense_because=outlined.dense_because,
        mask=mask,
        threshold=None if mask is None else _scalar(reader, threshold_of(mask)),
        measured=measured,
        request=request,
        positions=positions,
        positions_unknown=unknown,
    )


def _scalar(reader: Reader, name: str) -> Optional[float]:
    is_there = name in set(reader.names()) and tuple(reader.shape(name)) == () and reader.dtype(name).is_floating
    return float(reader.tensor(name)) if is_there else None


def _remarks(
    graph: Optional[Graph], asked: Optional[Asked], step: Optional[int], layers: Sequence[Layer], has_size: bool
) -> List[str]:
    """Returns what could not be found out; `has_size` tells whether the size of images was given."""
    found = []
    if graph is None:
        found.append("there is no .meta file: weights are told by names and shapes, and multiply-adds are not known")
    if asked is None:
        found.append(f"what was requested is not known: no {PLAN_FILE} lies beside the files, and no spec was given")
    elif step is None:
        found.append("no global step is stored, so that what was requested by now is not known")
    elif asked.spec.threshold_decay:
        found.append("threshold_decay: masks lag behind the schedule, and no number of zeros follows from it")
    unknown = [layer for layer in layers if layer.positions is None] if graph is not None else []
    if unknown:
        hint = "" if has_size else "; where the input is images, their size (--input-size) may tell"
        first = unknown[0].positions_unknown
        found.append(f"multiply-adds of {len(unknown)} weights are not known, of the first because {first}{hint}")
    return found
