"""The Object Detection API's SSD MobileNet V1, untouched, under MirroredStrategy on two virtual devices."""

import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from object_detection import model_hparams, model_lib

from examples.digit_scenes import pruning
from fixtures.estimators import read_all
from graph_masker import PruningSpec, fold_checkpoint, inspect_model
from graph_masker.schedule import kept_entries
from tests.helpers.bits import assert_same_bits, differences
from tests.models.scenes import phase_of, write_scenes

SPEC = PruningSpec(target_sparsity=0.8, begin_step=1, end_step=3, frequency=1)
DEVICES = ("/cpu:0", "/cpu:1")


class _Masks(tf.train.SessionRunHook):
    """Notes all copies of all masks after every step."""

    def __init__(self):
        self.seen = []

    def begin(self):
        handles = [op for op in tf.get_default_graph().get_operations() if op.type == "VarHandleOp"]
        self._reads = {
            op.name: tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype"))
            for op in handles
            if op.name.rpartition("/")[2] == "mask" or "/mask/replica_" in op.name
        }

    def after_run(self, run_context, run_values):
        self.seen.append(run_context.session.run(self._reads))


def _trained(layout, folder, steps, spec=None, hooks=(), batch_norm=False):
    config = tf.estimator.RunConfig(
        model_dir=str(folder),
        tf_random_seed=1,
        train_distribute=tf.distribute.MirroredStrategy(DEVICES),
        session_config=tf.ConfigProto(device_count={"CPU": 2}, allow_soft_placement=True),
    )
    path = phase_of(layout, steps).config
    if not batch_norm:
        path.write_text(re.sub(r"batch_norm \{[^}]*\}", "", path.read_text()))
    creator = {} if spec is None else {"model_fn_creator": pruning.masked_creator(spec)}
    parts = model_lib.create_estimator_and_inputs(
        config,
        model_hparams.create_hparams(),
        str(path),
        sample_1_of_n_eval_examples=1,
        **creator,
    )
    parts["estimator"].train(parts["train_input_fn"], max_steps=steps, hooks=list(hooks))
    return parts["estimator"]


@pytest.mark.slow
def test_with_batch_norm_the_api_itself_cannot_be_trained_so(tmp_path):
    """Its model_fn makes a Saver in each replica, where TensorFlow 1.15 saves no moving averages. Nothing is masked."""
    layout, _ = write_scenes(tmp_path / "data")
    with pytest.raises(RuntimeError, match="Method requires being in cross-replica context"):
        _trained(layout, tmp_path / "dense", 1, batch_norm=True)


@pytest.mark.slow
def test_one_mask_for_each_weight_the_same_on_both_devices(tmp_path):
    layout, _ = write_scenes(tmp_path / "data")
    # Without batch norm it trains under this strategy, as it comes.
    dense = _trained(layout, tmp_path / "dense", 1)
    assert not [name for name in read_all(dense.latest_checkpoint()) if name.endswith("mask")]
    look = _Masks()
    estimator = _trained(layout, tmp_path / "masked", 4, SPEC, [look])
    plan, held = inspect_model(str(tmp_path / "masked")), read_all(estimator.latest_checkpoint())
    assert len(plan.weights) == 18
    assert len(look.seen) == 4
    for site in plan.weights:
        assert held[site.mask].sum() == kept_entries(site.entries, 0.8), site.variable
        for step, values in enumerate(look.seen, 1):
            assert_same_bits({"": values[site.mask]}, {"": values[f"{site.mask}/replica_1"]})
            if step >= SPEC.end_step:
                assert values[site.mask].sum() == kept_entries(site.entries, 0.8), site.variable
    first = plan.weights[0].mask
    assert differences({"": look.seen[0][first]}, {"": look.seen[-1][first]})
    folded = read_all(fold_checkpoint(str(tmp_path / "masked"), str(tmp_path / "folded" / "model.ckpt")).prefix)
    for site in plan.weights:
        assert np.count_nonzero(folded[site.variable]) <= kept_entries(site.entries, 0.8)
    # On from there, on both devices.
    again = _Masks()
    _trained(layout, tmp_path / "masked", 5, SPEC, [again])
    assert_same_bits({"": again.seen[0][f"{first}/replica_1"]}, {"": held[first]})
