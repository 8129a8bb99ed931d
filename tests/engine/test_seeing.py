"""What a user sees of pruning: TensorBoard's scalars and a log line for each update."""

import glob
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import batches, plain_model_fn, read_all, run_config
from graph_masker import auto_mask, mask_graph
from graph_masker.schedule import kept_entries, sparsity_at, update_steps
from graph_masker.spec import PruningSpec
from tests.engine.nets import WAYS, WEIGHTS, Net, mask_of, sparsity_of, threshold_of, training
from tests.helpers.bits import assert_same_bits, differences

SPEC = PruningSpec(0.75, 4, 9, frequency=3, initial_sparsity=0.25)
TAGS = {
    "model_pruning/sparsity",
    "model_pruning/requested_sparsity",
    *(f"{mask_of(name)}/sparsity" for name in WEIGHTS),
    *(threshold_of(name) for name in WEIGHTS),
}


def expected(values: Dict[str, Any], spec: PruningSpec, step: int) -> Dict[str, Any]:
    """Returns what the scalars are to be, given all variables and the step."""
    masks = [values[mask_of(name)] for name in WEIGHTS]
    kept, entries = (sum(np.float64(part) for part in parts) for parts in zip(*((m.sum(), m.size) for m in masks)))
    found = {
        "model_pruning/sparsity": np.float32(1 - kept / entries),
        "model_pruning/requested_sparsity": np.float32(sparsity_at(spec, step) if step >= spec.begin_step else 0.0),
    }
    for name in WEIGHTS:
        found[f"{mask_of(name)}/sparsity"] = np.float32(sparsity_of(values[mask_of(name)]))
        found[threshold_of(name)] = np.float32(values[threshold_of(name)])
    return found


def reached(step: int) -> float:
    """Returns the fraction of zeros of all masks after an update."""
    sizes = (3 * 3 * 2 * 4, 64 * 3)
    return 1 - sum(kept_entries(size, sparsity_at(SPEC, step)) for size in sizes) / sum(sizes)


def scalars(summary: Any) -> Dict[str, Any]:
    """Returns the scalars of a summary by tag."""
    return {item.tag: np.float32(item.simple_value) for item in summary.value if item.HasField("simple_value")}


def parsed(serialized: bytes) -> Dict[str, Any]:
    return scalars(tf.Summary.FromString(serialized))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "net", [Net(), Net(tf.float64, use_resource=True), Net(tf.float16)], ids=["ref", "fp64", "fp16"]
)
def test_merged_summaries_before_between_and_after(net: Net, way: str):
    with training(net, SPEC, WAYS[way]) as run:
        merged = tf.summary.merge_all()
        for step in range(13):
            values = run.values()
            found = parsed(run.session.run(merged))
            assert set(found) == TAGS
            assert_same_bits(found, expected(values, SPEC, step))
            # The control: the scalars of a moment before or after are not those of an update.
            if step in update_steps(SPEC):
                assert differences(found, expected(values, SPEC, step - 1))
                assert found["model_pruning/sparsity"] == np.float32(reached(step))
            run.run()


def test_summaries_of_parts_are_those_of_the_whole():
    with tf.Graph().as_default():
        tf.train.get_or_create_global_step()
        with tf.variable_scope("", partitioner=tf.fixed_size_partitioner(3)):
            logits = tf.layers.dense(tf.placeholder(tf.float32, [2, 9]), 4, name="dense")
        train_op = tf.train.GradientDescentOptimizer(0.1).minimize(
            tf.reduce_mean(tf.square(logits)), tf.train.get_global_step()
        )
        masker = mask_graph(tf.get_default_graph(), replace(SPEC, begin_step=0))
        assert train_op is not None and len(masker.masks) == 3
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            masks = sorted(masker.masks.items())
            for number, (_, mask) in enumerate(masks):
                mask.load(np.full(mask.shape, number > 0, np.float32), session)
            found = parsed(session.run(tf.summary.merge_all()))
        assert found["dense/mask/sparsity"] == found["model_pruning/sparsity"] == np.float32(1 / 3)
        assert len(found) == 4


def test_event_files_of_an_estimator(tmp_path: Any):
    config = run_config(save_summary_steps=1, save_checkpoints_steps=1, keep_checkpoint_max=0)
    tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), config).train(batches(), max_steps=11)
    events = {}
    for path in glob.glob(str(tmp_path / "events.*")):
        for event in tf.train.summary_iterator(path):
            found = {tag: value for tag, value in scalars(event.summary).items() if tag in TAGS}
            if found:
                events[event.step] = found
    assert sorted(events) == list(range(1, 12))
    reader = {step: tf.train.load_checkpoint(str(tmp_path / f"model.ckpt-{step}")) for step in range(12)}
    for step, found in events.items():
        assert set(found) == TAGS
        # A summary is fetched with the step, before its own update or after: masks are those of either end of it.
        ends = [{name: reader[at].get_tensor(name) for name in read_all(str(tmp_path))} for at in (step - 1, step)]
        sparsities = [
            expected(values, SPEC, at)["model_pruning/sparsity"] for values, at in zip(ends, (step - 1, step))
        ]
        assert found["model_pruning/sparsity"] in sparsities
        requested = [expected(ends[1], SPEC, at)["model_pruning/requested_sparsity"] for at in (step - 1, step)]
        assert found["model_pruning/requested_sparsity"] in requested
    assert events[1]["model_pruning/sparsity"] == 0 and events[1]["model_pruning/requested_sparsity"] == 0
    assert events[11]["model_pruning/sparsity"] == np.float32(0.75)
    assert events[11]["model_pruning/requested_sparsity"] == np.float32(0.75)


SCRIPT = """
import sys
from graph_masker import auto_mask
import tensorflow.compat.v1 as tf
from fixtures.estimators import batches, plain_model_fn, run_config
from tests.engine.test_seeing import SPEC
tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), sys.argv[1], run_config()).train(batches(), max_steps=11)
"""


def _lines(folder: Any) -> Any:
    """Trains in a process of its own and returns what its updates wrote to standard error."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        cwd=root,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [line for line in done.stderr.splitlines() if "graph_masker: step" in line]


def test_one_line_per_update_whatever_tensorflow_is_told_to_log(tmp_path: Any):
    lines = _lines(tmp_path)
    pattern = re.compile(r"graph_masker: step (\d+) sparsity requested ([\d.]+) reached ([\d.]+) in 2 weights")
    found = [pattern.fullmatch(line) for line in lines]
    assert all(found), lines
    assert [int(match.group(1)) for match in found] == update_steps(SPEC)
    for match, step in zip(found, update_steps(SPEC)):
        assert float(match.group(2)) == pytest.approx(sparsity_at(SPEC, step), abs=1e-6)
        assert float(match.group(3)) == pytest.approx(reached(step), abs=1e-6)
    assert float(found[-1].group(3)) == 0.75
