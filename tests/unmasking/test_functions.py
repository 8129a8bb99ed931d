"""Masks in function bodies: gone from graphs that predict, refused in those that train through function gradients."""

import contextlib

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import SourceError
from graph_masker.masker import Masker
from graph_masker.unmasking import unmask_meta_graph
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded, variables_by_name
from tests.rules.test_functions import CASES, SPEC

KINDS = pytest.mark.parametrize("kind", ["ref", "resource"])
# What reads a handle inside has gradients that read the mask there, too.
READ_INSIDE = ("if", "while", "function", "nested")


def _meta_graph(case, kind, is_masked, learns):
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        masker = Masker(graph, SPEC)
        batch = tf.placeholder(tf.float32, [2, 3], name="batch")
        with contextlib.ExitStack() as stack:
            if is_masked:
                stack.enter_context(masker.watching_gradients())
            weight = tf.get_variable("layer/kernel", [3, 3])
            output = tf.identity(CASES[case](batch, weight), "output")
            if learns:
                tf.identity(tf.gradients(tf.reduce_sum(output), [weight])[0], "gradient")
        if is_masked:
            masker.mask([output], strict=True)
        return tf.train.export_meta_graph(saver_def=tf.train.Saver().saver_def)


def _results(meta_graph, learns):
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(meta_graph)
        with single_threaded(graph) as session:
            initialize(session)
            for name, variable in variables_by_name(graph).items():
                is_mask = name.endswith("mask")
                shape = variable.shape.as_list()
                if shape:
                    variable.load(random_mask(name, shape) if is_mask else normal_value(name, shape), session)
            fetched = {"output": "output:0", **({"gradient": "gradient:0"} if learns else {})}
            return session.run(fetched, {"batch:0": normal_value("batch", [2, 3])})


@KINDS
@pytest.mark.parametrize("case", CASES)
def test_unmasked_functions_compute_what_dense_ones_do(case, kind):
    for learns in (False, True):
        masked = _meta_graph(case, kind, True, learns)
        if learns and kind == "resource" and case in READ_INSIDE:
            with pytest.raises(SourceError, match=r"a\.meta: function '.*' computes with a mask"):
                unmask_meta_graph(masked, "a.meta")
            continue
        found = unmask_meta_graph(masked)
        arguments = [arg.name for body in found.graph_def.library.function for arg in body.signature.input_arg]
        assert not [name for name in arguments if "mask" in name]
        dense = _results(_meta_graph(case, kind, False, learns), learns)
        assert_same_bits(_results(found, learns), dense)
        assert differences(_results(masked, learns), dense)


def test_a_model_that_computes_with_a_mask_is_refused():
    with tf.Graph().as_default() as graph:
        output = tf.layers.dense(tf.placeholder(tf.float32, [2, 3]), 4, name="layer")
        masker = Masker(graph, SPEC)
        masker.mask([output], strict=True)
        tf.reduce_mean(masker.masks["layer/kernel"], name="density")
        meta_graph = tf.train.export_meta_graph()
    with pytest.raises(SourceError, match=r"a\.meta: Mean 'density' computes with pruning's variables"):
        unmask_meta_graph(meta_graph, "a.meta")
