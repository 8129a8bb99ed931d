"""graph-masker verify: what it accepts, and what it refuses by which line."""

import shutil
from typing import Any, Callable, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import SPEC, batches, plain_model_fn, run_config
from graph_masker import UsageError, VerificationError, auto_mask, verify_model
from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.helpers.folders import rewritten
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded


@pytest.fixture(scope="module", params=["ref", "resource"])
def prefix(request: Any, tmp_path_factory: Any) -> str:
    """A masked checkpoint: a dense layer and a partitioned one, with random masks."""
    path = str(tmp_path_factory.mktemp(request.param) / "model.ckpt-0")
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=request.param == "resource"):
        hidden = tf.layers.dense(tf.placeholder(tf.float32, [None, 4]), 4, tf.tanh, name="first")
        kernel = tf.get_variable("part/kernel", [4, 3], partitioner=tf.fixed_size_partitioner(2))
        output = tf.matmul(hidden, tf.convert_to_tensor(kernel), name="output")
        loss = tf.losses.mean_squared_error(tf.zeros_like(output), output)
        with Masker(graph, PruningSpec(0.5, 1, 10)).watching_gradients():
            tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, tf.train.get_or_create_global_step())
        saver = tf.train.Saver()
        with single_threaded(graph) as session:
            initialize(session)
            for mask in graph.get_collection("masks"):
                session.run(mask.initializer, {mask.initializer.inputs[1]: random_mask(mask.name, mask.shape)})
            for weight in graph.get_collection("kernel"):
                value = normal_value(weight.name, weight.shape.as_list())
                session.run(weight.initializer, {weight.initializer.inputs[1]: value})
            saver.save(session, path)
    return path


def with_graph(prefix: str, tmp_path: Any, change: Callable[[Dict[str, Any]], None]) -> str:
    """Writes the checkpoint's tensors anew, changed, beside a copy of its .meta file."""
    copy = rewritten(prefix, tmp_path / "copy.ckpt", change)
    shutil.copy(f"{prefix}.meta", f"{copy}.meta")
    return copy


def spoiled(prefix: str, tmp_path: Any, change: Callable[[Any], None]) -> str:
    """Writes the graph anew, changed."""
    meta_graph = tf.MetaGraphDef()
    with open(f"{prefix}.meta", "rb") as stream:
        meta_graph.ParseFromString(stream.read())
    change({node.name: node for node in meta_graph.graph_def.node})
    path = str(tmp_path / "spoiled.meta")
    with open(path, "wb") as stream:
        stream.write(meta_graph.SerializeToString())
    return path


def test_a_masked_checkpoint_keeps_the_guarantees(prefix: str):
    graph, data, run = verify_model(prefix, run=True).checks
    assert graph.startswith("graph: 3 masks, no path past them to 6 consumers")
    assert data == "data: masks of zeros and ones only, 14 of 28 entries masked out (0.5000)"
    assert run == "run: 1 outputs equal, bit for bit, with other values in the entries masked out"


def test_outputs_can_be_named(prefix: str):
    assert verify_model(prefix, run=True, outputs=["output", "first/Tanh:0"]).checks[-1].startswith("run: 2 outputs")


def test_a_graph_alone_is_checked_by_the_graph(prefix: str, tmp_path: Any):
    shutil.copy(f"{prefix}.meta", tmp_path / "alone.meta")
    assert len(verify_model(str(tmp_path / "alone.meta")).checks) == 1
    with pytest.raises(UsageError, match="expected a checkpoint to run, found only a graph"):
        verify_model(str(tmp_path / "alone.meta"), run=True)


def _read_of(nodes: Any) -> str:
    (text,) = [text for text in nodes["first/kernel/masked_weight"].input if "mask" not in text]
    return str(text)


def _past_the_mask(nodes: Any) -> None:
    nodes["first/MatMul"].input[1] = _read_of(nodes)


def _another_mask(nodes: Any) -> None:
    (index,) = [i for i, text in enumerate(nodes["first/kernel/masked_weight"].input) if "mask" in text]
    nodes["first/kernel/masked_weight"].input[index] = _read_of(nodes)


@pytest.mark.parametrize("change", [_past_the_mask, _another_mask])
def test_a_graph_that_reads_past_a_mask_is_refused(prefix: str, tmp_path: Any, change: Callable[[Any], None]):
    with pytest.raises(VerificationError, match="first/"):
        verify_model(spoiled(prefix, tmp_path, change))


CHANGES = {
    "no mask": (lambda values: values.pop("first/mask"), "expected 'first/mask', found no such tensor"),
    "no threshold": (lambda values: values.pop("part/threshold"), "expected 'part/threshold', found no such tensor"),
    "half a mask": (
        lambda values: values.update({"part/mask": np.full([4, 3], 0.5, np.float32)}),
        "expected zeros and ones in 'part/mask', found other values",
    ),
    "another shape": (
        lambda values: values.update({"first/mask": np.ones([4, 5], np.float32)}),
        r"expected 'first/mask' of the weight's shape \(4, 4\), found \(4, 5\)",
    ),
    "no threshold's value": (
        lambda values: values.update({"first/threshold": np.float32(np.nan)}),
        "expected a finite scalar in 'first/threshold', found nan",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_data_that_is_no_mask_is_refused(prefix: str, tmp_path: Any, case: str):
    change, message = CHANGES[case]
    with pytest.raises(VerificationError, match=message):
        verify_model(with_graph(prefix, tmp_path, change))


def test_a_dense_model_is_refused(tmp_path: Any):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.layers.dense(tf.placeholder(tf.float32, [1, 2]), 3)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "dense"))
    with pytest.raises(VerificationError, match="expected a masked model, found none of its 1 weights masked"):
        verify_model(str(tmp_path / "dense"))


def test_an_output_that_is_not_there_is_refused(prefix: str):
    with pytest.raises(UsageError, match=r"nowhere:0: expected a tensor of .*, found no such op"):
        verify_model(prefix, outputs=["nowhere"])


def test_an_output_that_does_not_depend_on_weights_is_refused(prefix: str):
    with pytest.raises(UsageError, match="does not depend on the masked weights; name outputs that do"):
        verify_model(prefix, run=True, outputs=["first/bias"])


def test_what_an_estimator_trained_from_a_dataset_can_be_run(tmp_path: Any):
    masked = auto_mask(plain_model_fn, SPEC)
    tf.estimator.Estimator(masked, str(tmp_path), run_config()).train(batches(), steps=9)
    assert verify_model(str(tmp_path), run=True).checks[-1].startswith("run: 1 outputs equal")
