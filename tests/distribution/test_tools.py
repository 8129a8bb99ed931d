"""What the commands say of checkpoints that several devices have trained, and of graphs that are imported from them."""

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PlanError, mask_graph
from tests.cli.running import run
from tests.distribution.test_mirrored import BATCH, SPEC, _batches, _config, _momentum, _strategy, _train

SCHEDULE = ["--target-sparsity", "0.5", "--begin-step", "5", "--end-step", "9"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a dense and of a masked training, and of the latter's folded checkpoint, by what they are."""
    root = tmp_path_factory.mktemp("runs")
    _train(root / "masked", 4, _momentum, _strategy())
    tf.estimator.Estimator(_momentum, config=_config(root / "dense", _strategy())).train(
        _batches(BATCH // 2), max_steps=2
    )
    assert run("fold", root / "masked", root / "folded").returncode == 0
    return root


def test_a_copy_is_no_weight_of_its_own(runs):
    said = run("inspect", runs / "masked")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "2 sites, 72 entries; 2 copies on further devices" in said.stdout
    assert "replica_1" not in said.stdout
    wrong = run("inspect", runs / "masked", "--exclude", "nosuch", *SCHEDULE)
    assert wrong.returncode == 2 and "matches none of the 2 weights found" in wrong.stderr


def test_verify_runs_it(runs):
    said = run("verify", runs / "masked", "--run")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "bit for bit, with other values in the entries masked out" in said.stdout


@pytest.mark.parametrize("which", ("masked", "folded", "dense"))
def test_report_finds_no_fault(runs, which):
    said = run("report", runs / which)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "FAULT" not in said.stdout and "no faults found" in said.stdout


@pytest.mark.parametrize("which", ("folded", "dense"))
def test_what_several_devices_have_trained_is_not_rewritten(runs, which, tmp_path):
    said = run("rewrite", runs / which, tmp_path / "rewritten", *SCHEDULE)
    assert said.returncode == 2
    assert "global_step/replica_1: expected a graph of one device, found a copy of 'global_step'" in (
        said.stdout + said.stderr
    )
    assert len(said.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    # A checkpoint needs no graph for masks of one shot.
    assert run("prune", runs / which, tmp_path / "pruned", "--sparsity", "0.5").returncode == 0


@pytest.mark.parametrize("which", ("masked", "dense"))
def test_an_imported_graph_is_refused(runs, which):
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(f"{tf.train.latest_checkpoint(str(runs / which))}.meta")
        before = len(graph.get_operations())
        with pytest.raises(PlanError, match="global_step/replica_1: expected a graph of one device"):
            mask_graph(graph, SPEC)
        assert len(graph.get_operations()) == before
