"""slim's MobileNet V1 and Inception V2, frozen: pruned in one shot, they are what a live mask update makes of them."""

import importlib
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from benchmarks.engine.nets import net_named
from graph_masker import PruningSpec, mask_graph, prune_model
from graph_masker.files.graphs import ConstantsReader, read_graph_def
from tests.helpers.running import initialize, op_by_op

IMAGES = [1, 96, 96, 3]
SPECS = [
    PruningSpec(0.9, 0, schedule="one_shot", allocation="global", max_sparsity=0.98),
    PruningSpec(0.8, 0, schedule="one_shot", structure={"block": [4, 1]}, also="depthwise"),
]


def _logits(name: str, images: Any) -> Any:
    from tensorflow.contrib import slim

    net = net_named(name)
    arg_scope = getattr(importlib.import_module(f"nets.{net.arg_scope_module}"), net.arg_scope)
    with slim.arg_scope(arg_scope()):
        function = getattr(importlib.import_module(f"nets.{net.module}"), net.function)
        return function(images, 10, is_training=False, spatial_squeeze=True)[0]


def _images() -> Any:
    return np.random.RandomState(1).normal(size=IMAGES).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS, ids=["global", "blocks"])
@pytest.mark.parametrize("name", ["mobilenet_v1", pytest.param("inception_v2", marks=pytest.mark.slow)])
def test_output_and_weights(name: str, spec: PruningSpec, tmp_path: Any) -> None:
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(2)
        images = tf.placeholder(tf.float32, IMAGES, name="images")
        tf.identity(_logits(name, images), name="output")
        tf.train.get_or_create_global_step()
        with op_by_op(graph) as session:
            initialize(session)
            frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
            values = session.run({variable.op.name: variable for variable in tf.global_variables()})
        (tmp_path / "frozen.pb").write_bytes(frozen.SerializeToString())
        masker = mask_graph(graph, spec, outputs=["output:0"])
        update = masker.attach_update()
        with op_by_op(graph) as session:
            initialize(session)
            for variable in tf.global_variables():
                if variable.op.name in values:
                    variable.load(values[variable.op.name], session)
            session.run(update)
            expected = session.run("output:0", {images: _images()})
            products = session.run({site.variable: f"{site.masked_weight}:0" for site in masker.plan.sites})
    result = prune_model(str(tmp_path / "frozen.pb"), str(tmp_path / "pruned.pb"), spec)
    assert {weight.variable for weight in result.weights} == set(products)
    assert len(products) >= (27 if name == "mobilenet_v1" and spec.also else 15)
    pruned = read_graph_def(str(tmp_path / "pruned.pb"))
    reader = ConstantsReader("pruned", pruned)
    for variable, product in products.items():
        assert reader.tensor(variable).tobytes() == product.tobytes(), variable
    assert _run(pruned).tobytes() == expected.tobytes()
    assert _run(frozen).tobytes() != expected.tobytes()


def _run(graph_def: Any) -> Any:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with op_by_op(graph) as session:
            return session.run("output:0", {"images:0": _images()})
