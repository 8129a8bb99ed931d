"""graph-masker verify on every kind of file, and against the file that one was made of."""

import shutil
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.kinds import write_every_kind
from graph_masker import SourceError, UsageError, VerificationError, fold_checkpoint, verify_model
from graph_masker.files.graphs import read_graph
from graph_masker.files.source import find_source
from graph_masker.verification.execution import agree, executed, read_inputs
from tests.helpers.folders import rewritten

RUNNABLE = ("ckpt", "saved", "frozen.pb", "frozen.pbtxt")
OUTPUT = ["output"]


@pytest.fixture(scope="module", params=["ref", "resource"])
def folders(request: Any, tmp_path_factory: Any) -> Tuple[Path, Path]:
    """The same model dense and masked."""
    dense, masked = (tmp_path_factory.mktemp(f"{request.param}-{name}") for name in ("dense", "masked"))
    write_every_kind(dense, request.param == "resource", False)
    write_every_kind(masked, request.param == "resource", True)
    return dense, masked


@pytest.mark.parametrize("kind", RUNNABLE)
def test_a_masked_model_of_every_kind_keeps_the_guarantees(folders: Tuple[Path, Path], kind: str) -> None:
    graph, data, run, *_ = verify_model(str(folders[1] / kind), run=True, outputs=OUTPUT).checks
    assert graph == "graph: 5 masks, no path past them to 5 consumers and to 1 outputs"
    assert data.startswith("data: masks of zeros and ones only, 15 of ")
    assert run == "run: 1 outputs equal, bit for bit, with other values in the entries masked out"


@pytest.mark.parametrize("kind", RUNNABLE[1:])
def test_outputs_are_found_where_the_file_tells_them(folders: Tuple[Path, Path], kind: str) -> None:
    checks = verify_model(str(folders[1] / kind), run=True).checks
    assert "run: 1 outputs equal, bit for bit, with other values in the entries masked out" in checks


@pytest.mark.parametrize("kind", RUNNABLE)
@pytest.mark.parametrize("other", RUNNABLE)
def test_every_kind_agrees_with_every_other(folders: Tuple[Path, Path], kind: str, other: str) -> None:
    other = str(folders[1] / other)
    _, _, comparison, *runs = verify_model(str(folders[1] / kind), run=True, outputs=OUTPUT, against=other).checks
    assert comparison.startswith(f"against {other}: ")
    assert "5 of them weights under masks" in comparison
    assert runs[-1] == f"run: 1 outputs equal those of {other}, bit for bit"


def test_a_folded_checkpoint_agrees_with_the_masked_one(folders: Tuple[Path, Path], tmp_path: Path) -> None:
    folded, masked = str(tmp_path / "folded"), str(folders[1] / "ckpt")
    fold_checkpoint(masked, folded)
    (line,) = verify_model(folded, against=masked).checks
    assert "5 of them weights under masks" in line


@pytest.mark.parametrize("kind", RUNNABLE)
def test_more_zeros_are_a_difference_unless_pruning_was_meant(folders: Tuple[Path, Path], kind: str) -> None:
    dense, masked = str(folders[0] / kind), str(folders[1] / kind)
    with pytest.raises(VerificationError, match=r"found 1 entries that are zero here only; --pruned accepts them"):
        verify_model(masked, against=dense)
    checks = verify_model(masked, against=dense, may_be_pruned=True).checks
    assert checks[3] == "pruned: 5 tensors have 15 of 446 entries set to zero, all others equal"
    with pytest.raises(VerificationError, match="found 1 other entries"):
        verify_model(dense, against=masked, may_be_pruned=True)


@pytest.mark.parametrize("kind", RUNNABLE)
def test_other_outputs_are_a_difference(folders: Tuple[Path, Path], kind: str) -> None:
    with pytest.raises(VerificationError, match=r"output:0: expected the values that .* gives, found others"):
        verify_model(str(folders[1] / kind), True, OUTPUT, against=str(folders[0] / kind), may_be_pruned=True)


def _negate_bias(values: Dict[str, Any]) -> None:
    values["conv/bias"] = -values["conv/bias"]


def _reshape(values: Dict[str, Any]) -> None:
    values["a/kernel"] = values["a/kernel"].T


CHANGES = {
    "another bias": (_negate_bias, r"expected 'conv/bias' as in .*, found 4 other entries"),
    "another shape": (_reshape, r"expected 'a/kernel' as in .*, float32 \(6, 7\), found float32 \(7, 6\)"),
    "a weight less": (lambda values: values.pop("head/kernel"), r"expected 'head/kernel' of .*, found no such tensor"),
    "nothing": (lambda values: [values.pop(name) for name in list(values)[1:]], r"expected '.*' of .*, found no such"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_another_tensor_is_named(folders: Tuple[Path, Path], tmp_path: Path, case: str) -> None:
    change, message = CHANGES[case]
    copy = rewritten(folders[0] / "ckpt", tmp_path / "copy.ckpt", change)
    with pytest.raises(VerificationError, match=message):
        verify_model(copy, against=str(folders[0] / "ckpt"))
    same = rewritten(folders[0] / "ckpt", tmp_path / "copy.ckpt", lambda values: None)
    assert len(verify_model(same, against=str(folders[0] / "ckpt")).checks) == 1


def test_inputs_are_taken_from_files(folders: Tuple[Path, Path], tmp_path: Path) -> None:
    path, frozen = str(tmp_path / "images.npy"), str(folders[1] / "frozen.pb")
    source = find_source(frozen)
    found = []
    for level in (1, 2):
        np.save(path, np.full([2, 8, 8, 3], level, np.float32))
        assert verify_model(frozen, run=True, inputs=[("images:0", path)]).checks[2].startswith("run: 1 outputs equal")
        with executed(source, read_graph(source)) as execution:
            found += execution.run(["output:0"], read_inputs([("images", path)], execution.graph))
    assert agree(found[:1], found[:1])
    assert not agree(found[:1], found[1:])
    for name, message in (("nowhere", "expected an input of the graph"), ("images", "expected float32")):
        np.save(path, np.ones([2, 8, 8, 4], np.float32))
        with pytest.raises(UsageError, match=message):
            verify_model(frozen, run=True, inputs=[(name, path)])
    Path(path).write_text("none")
    with pytest.raises(UsageError, match=r"images.npy: expected an array in a .npy file, found none"):
        verify_model(frozen, run=True, inputs=[("images", path)])


def _past_the_mask(nodes: Dict[str, Any]) -> None:
    product = nodes["conv/kernel/masked_weight"]
    (read,) = [text for text in product.input if "mask" not in text]
    nodes["conv/Conv2D"].input[1] = read


def test_a_frozen_graph_that_reads_past_a_mask_is_refused(folders: Tuple[Path, Path], tmp_path: Path) -> None:
    graph_def = tf.GraphDef()
    graph_def.ParseFromString((folders[1] / "frozen.pb").read_bytes())
    _past_the_mask({node.name: node for node in graph_def.node})
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(VerificationError, match="conv/Conv2D"):
        verify_model(str(path))


def test_a_plain_model_needs_another_to_be_compared_with(folders: Tuple[Path, Path]) -> None:
    for kind in RUNNABLE:
        with pytest.raises(VerificationError, match="expected a masked model, found none of its 5 weights masked"):
            verify_model(str(folders[0] / kind))


def test_a_saved_model_without_its_variables_cannot_be_run(folders: Tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(str(folders[1] / "saved"), str(tmp_path / "saved"))
    shutil.rmtree(str(tmp_path / "saved" / "variables"))
    with pytest.raises(SourceError, match="cannot be imported and restored"):
        verify_model(str(tmp_path / "saved"), run=True)
