"""Names, choices and the JSON form of plans."""

import json
from dataclasses import replace
from typing import Any, Dict

import pytest
import tensorflow.compat.v1 as tf

from fixtures.toys import TOYS, build_toy
from graph_masker.errors import PlanError
from graph_masker.masker import Masker, plan_graph
from graph_masker.plan import MaskPlan
from graph_masker.spec import PruningSpec

SPEC = PruningSpec(0.5, 1, 10)


def net() -> Any:
    """Two layers with one weight each, and a separable one whose scope holds two."""
    images = tf.placeholder(tf.float32, [2, 6, 6, 3])
    hidden = tf.layers.conv2d(images, 4, 3, name="conv")
    hidden = tf.layers.separable_conv2d(hidden, 4, 3, name="separable")
    return tf.layers.dense(tf.reduce_mean(hidden, [1, 2]), 5, name="logits")


def plan(strict: bool = True, **options: Any) -> MaskPlan:
    with tf.Graph().as_default() as graph:
        output = net()
        return plan_graph(graph, replace(SPEC, **options), [output], strict=strict)


def names(found: MaskPlan) -> Dict[str, Any]:
    return {site.variable: (site.mask, site.threshold, site.masked_weight) for site in found.sites}


EXPECTED = {
    "conv/kernel": ("conv/mask", "conv/threshold", "conv/kernel/masked_weight"),
    "separable/depthwise_kernel": (
        "separable/depthwise_kernel_mask",
        "separable/depthwise_kernel_threshold",
        "separable/depthwise_kernel/masked_weight",
    ),
    "separable/pointwise_kernel": (
        "separable/pointwise_kernel_mask",
        "separable/pointwise_kernel_threshold",
        "separable/pointwise_kernel/masked_weight",
    ),
    "logits/kernel": ("logits/mask", "logits/threshold", "logits/kernel/masked_weight"),
}


def test_names():
    assert names(plan(also="depthwise")) == EXPECTED


@pytest.mark.parametrize(
    "options", [{}, {"include": "pointwise"}, {"exclude": "depthwise", "also": "depthwise"}, {"exclude": "conv/"}]
)
def test_names_depend_on_the_model_alone(options):
    found = names(plan(**options))
    assert found
    assert set(found.items()) <= set(EXPECTED.items())


def test_variables_without_a_scope():
    with tf.Graph().as_default() as graph:
        output = tf.placeholder(tf.float32, [2, 3]) @ tf.get_variable("weights", [3, 3])
        found = names(plan_graph(graph, SPEC, [output]))
    assert found == {"weights": ("mask", "threshold", "weights/masked_weight")}


def test_a_taken_name_gives_way_or_is_reported():
    with tf.Graph().as_default() as graph:
        tf.get_variable("layer/mask", [2])
        output = tf.placeholder(tf.float32, [2, 3]) @ tf.get_variable("layer/kernel", [3, 3])
        (site,) = plan_graph(graph, SPEC, [output]).sites
        assert (site.mask, site.threshold) == ("layer/kernel_mask", "layer/kernel_threshold")
        tf.get_variable("layer/kernel_mask", [2])
        with pytest.raises(PlanError, match=r"layer/kernel: the graph already has an op named 'layer/kernel_mask'"):
            plan_graph(graph, SPEC, [output])


def test_include_exclude_and_their_reasons():
    found = plan(include=["conv", "logits"], exclude="^logits")
    assert [site.variable for site in found.sites] == ["conv/kernel"]
    reasons = {skip.variable: skip.reason for skip in found.skips}
    assert reasons["logits/kernel"] == "excluded by '^logits'"
    assert reasons["separable/pointwise_kernel"] == "no include pattern matches it"


def test_skips_cover_every_other_trainable_variable():
    with tf.Graph().as_default() as graph:
        output = net()
        found = plan_graph(graph, SPEC, [output])
        trainable = {variable.op.name for variable in graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)}
    assert {site.variable for site in found.sites} | {skip.variable for skip in found.skips} == trainable
    assert all(skip.reason for skip in found.skips)


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_an_error_where_strict(field: str):
    with pytest.raises(PlanError, match=rf"{field}: 'resnet' matches none of the 4 weights found.*'conv/kernel'"):
        plan(**{field: ["conv", "resnet"]})
    assert plan(strict=False, **{field: ["conv/", "resnet"]}).sites


def test_an_unknown_family_is_an_error():
    with pytest.raises(PlanError, match="also: unknown family 'embedding'; allowed are depthwise"):
        plan(also="embedding")


def test_nothing_to_mask_is_an_error_where_strict():
    with pytest.raises(PlanError, match=r"no weight to mask: 4 x excluded by '\.'; 3 x a bias or scale"):
        plan(exclude=".")
    assert plan(strict=False, exclude=".").sites == ()
    with tf.Graph().as_default() as graph:
        output = tf.placeholder(tf.float32, [2]) * 2.0
        with pytest.raises(PlanError, match="no variable of this graph reaches a convolution or a matrix product"):
            plan_graph(graph, SPEC, [output])


@pytest.mark.parametrize("masked", [False, True])
def test_json_round_trip_of_every_toy(masked: bool):
    for toy in TOYS:
        built = build_toy(toy, toy.kinds[0])
        masker = Masker(built.graph, replace(SPEC, also=toy.also))
        if masked:
            masker.mask([built.output])
        original = plan_graph(built.graph, masker.spec, [built.output])
        assert original.sites
        assert MaskPlan.from_json(original.to_json()) == original
        assert all(site.masked == masked for site in original.sites)


def test_json_round_trip_of_a_plan_without_spec_or_sites():
    assert MaskPlan.from_json(MaskPlan((), ()).to_json()) == MaskPlan((), ())


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"sites": [{}], "skips": [], "spec": null}'])
def test_other_text_is_no_plan(text: str):
    with pytest.raises(PlanError, match="expected a mask plan in JSON"):
        MaskPlan.from_json(text)


def test_json_of_another_plan_differs():
    assert json.loads(plan().to_json()) != json.loads(plan(exclude="logits").to_json())


def test_entries():
    found = plan(include=["^conv", "logits"])
    assert [site.entries for site in found.sites] == [3 * 3 * 3 * 4, 4 * 5]
    assert found.entries == 128
