"""Contrib's own parser and its own Pruning, against what a spec takes from the same text."""

import re
from typing import Any, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.contrib import model_pruning

from graph_masker.errors import SpecError
from graph_masker.schedule import sparsity_at, weight_sparsity_at
from graph_masker.spec import Block, Element, PruningSpec
from graph_masker.spec.hparams import DEFAULTS, parse_hparams
from tests.helpers.running import op_by_op

WHOLE = (
    "name=pruning,begin_pruning_step=100,end_pruning_step=5000,weight_sparsity_map=[conv1:0.9,conv2/kernel:0.8],"
    "block_dims_map=[dense1:4x4 dense2:1x-1],threshold_decay=0.5,pruning_frequency=20,nbins=128,block_height=2,"
    "block_width=3,block_pooling_function=MAX,initial_sparsity=0.1,target_sparsity=0.85,"
    "sparsity_function_begin_step=50,sparsity_function_end_step=4000,sparsity_function_exponent=2,use_tpu=false"
)


def contribs_values(text: str) -> Any:
    """Returns contrib's hyper-parameters, or None where it refuses the text."""
    try:
        return model_pruning.get_pruning_hparams().parse(text).values()
    except ValueError:
        return None


def our_values(text: str) -> Any:
    """Returns what is parsed here, or None where it is refused."""
    try:
        return parse_hparams(text)
    except SpecError:
        return None


def typed(values: Any) -> Any:
    """Values as text with their types: True is not 1, 1 not 1.0, and NaN is NaN."""
    return values and {name: (repr(value), type(value)) for name, value in values.items()}


def test_defaults_are_contribs():
    assert typed(DEFAULTS) == typed(model_pruning.get_pruning_hparams().values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        WHOLE,
        "target_sparsity=0.85",
        "target_sparsity=0.85,",
        "target_sparsity = .85 ,  nbins =  4",
        "target_sparsity=1e-1",
        "target_sparsity=1",
        "weight_sparsity_map=[]",
        "weight_sparsity_map=[a:0.1 , b:0.2,,c:0.3]",
        "weight_sparsity_map=[a.*/b$:0.5],nbins=3",
        "use_tpu=0",
        "use_tpu=True",
        "name=",
        "name=a b",
        "begin_pruning_step=1_000",
        "begin_pruning_step=\u0661",
        "nbins=3\n",
    ],
)
def test_what_contrib_takes_is_taken_alike(text):
    assert contribs_values(text) is not None
    assert typed(our_values(text)) == typed(contribs_values(text))


@pytest.mark.parametrize(
    "text, message",
    [
        ("sparsity=0.5", "hparams: unknown name sparsity: allowed are name, begin_pruning_step, end_pruning_step,"),
        ("target_sparsity", "hparams: expected name=value pairs with commas between them, found 'target_sparsity'"),
        (" target_sparsity=1", "hparams: expected name=value pairs with commas between them"),
        ("target_sparsity=0.5;nbins=3", "hparams: target_sparsity: expected a number, found '0.5;nbins=3'"),
        ("target_sparsity=0.5,target_sparsity=0.6", "hparams: expected target_sparsity once, found it twice"),
        ("begin_pruning_step=1.5", "hparams: begin_pruning_step: expected a whole number, found '1.5'"),
        ("begin_pruning_step=", "hparams: begin_pruning_step: expected a whole number, found ''"),
        ("use_tpu=maybe", "hparams: use_tpu: expected true or false, found 'maybe'"),
        ("use_tpu=FALSE", "hparams: use_tpu: expected true or false, found 'FALSE'"),
        ("weight_sparsity_map=conv1:0.9", "hparams: weight_sparsity_map: expected a list in brackets"),
        ("weight_sparsity_map[0]=conv1:0.9", "hparams: expected name=value pairs with commas between them"),
        ("target_sparsity=[0.5]", "hparams: target_sparsity: expected one value, found a list"),
        ("weight_sparsity_map=[conv[0-9]:0.5]", "hparams: expected name=value pairs with commas between them"),
    ],
)
def test_what_contrib_refuses_is_refused_and_says_why(text, message):
    assert contribs_values(text) is None
    with pytest.raises(SpecError) as caught:
        PruningSpec.from_hparams(text)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


_names = st.sampled_from([*DEFAULTS, "sparsity", "begin", "nbins[0]", "1a", "a.b", ""])
_scalars = st.one_of(
    st.integers(-3, 500).map(str),
    st.floats(-0.5, 1.5).map(str),
    st.sampled_from(["", "true", "False", "1", "AVG", "nan", "1e-1", " 3 ", "a b", "[", "]", "x=y", "0x1"]),
)
_items = st.lists(st.sampled_from(["conv:0.5", "a", "b:2x2", "", ":", "c:1:2", " "]), max_size=3)
_lists = st.tuples(_items, st.sampled_from([",", " ", ", "])).map(lambda both: f"[{both[1].join(both[0])}]")
_clauses = st.tuples(_names, st.sampled_from(["=", " = ", "=\t", "", "=="]), st.one_of(_scalars, _lists)).map("".join)
texts = st.tuples(st.lists(_clauses, max_size=3), st.sampled_from([",", ", ", ",,", " "])).map(
    lambda both: both[1].join(both[0])
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(texts, _clauses))
def test_texts_are_parsed_as_contrib_parses_them(text):
    assert typed(our_values(text)) == typed(contribs_values(text))


def test_another_value_would_be_noticed():
    assert typed(our_values("nbins=3")) != typed(contribs_values("nbins=4"))
    assert typed({"use_tpu": 0}) != typed({"use_tpu": False})


def test_a_whole_text_becomes_a_spec():
    spec = PruningSpec.from_hparams(WHOLE)
    assert (spec.begin_step, spec.end_step, spec.frequency) == (100, 5000, 20)
    assert (spec.sparsity_begin_step, spec.sparsity_end_step, spec.exponent) == (50, 4000, 2.0)
    assert (spec.initial_sparsity, spec.target_sparsity, spec.threshold_decay) == (0.1, 0.85, 0.5)
    assert spec.structure == Block(2, 3, "max", matrices_only=True)
    assert spec.continue_from_masks is False
    both = spec.for_weight("dense1/conv1")
    assert (both.target_sparsity, both.structure) == (0.9, Block(4, 4, "max", matrices_only=True))
    assert spec.for_weight("conv1").structure == spec.structure
    assert spec.for_weight("dense2").structure == Block(1, -1, "max", matrices_only=True)
    assert PruningSpec.from_dict(spec.to_dict()) == spec


def test_the_defaults_become_a_spec_that_never_ends():
    spec = PruningSpec.from_hparams("")
    assert (spec.target_sparsity, spec.begin_step, spec.end_step, spec.frequency) == (0.5, 0, None, 10)
    assert spec.curve == (0, 100)
    assert spec.structure == Element()
    assert spec.rules == ()


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "begin_pruning_step=10,end_pruning_step=10",
            "hparams: end_pruning_step: expected a step above begin_pruning_step, 10, or -1 for never, found 10",
        ),
        ("end_pruning_step=-2", "hparams: end_pruning_step: expected a step above begin_pruning_step, 0, or -1"),
        ("begin_pruning_step=-1", "hparams: begin_pruning_step: expected at least 0, found -1"),
        ("sparsity_function_begin_step=-1", "hparams: sparsity_function_begin_step: expected at least 0, found -1"),
        (
            "sparsity_function_begin_step=100",
            "hparams: sparsity_function_begin_step, sparsity_function_end_step: expected begin < end, found 100 and",
        ),
        ("threshold_decay=1", "hparams: threshold_decay: expected a number with 0 <= d < 1, found 1"),
        ("initial_sparsity=1", "hparams: initial_sparsity: expected a fraction of zeros with 0 <= s < 1, found 1"),
        ("target_sparsity=-0.5", "hparams: target_sparsity: expected a fraction of zeros with 0 <= s < 1, found -0.5"),
        ("weight_sparsity_map=[a:1.0]", "hparams: weight_sparsity_map: a: expected a fraction of zeros"),
        ("weight_sparsity_map=[a]", "hparams: weight_sparsity_map: expected items such as conv1:0.9 or dense1:4x4"),
        ("weight_sparsity_map=[a:b]", "hparams: weight_sparsity_map: a: expected a number, found 'b'"),
        ("weight_sparsity_map=[(:0.5]", "hparams: weight_sparsity_map: '(' is not a regular expression"),
        ("block_dims_map=[a:4]", "hparams: block_dims_map: a: expected height x width, such as 4x4, found '4'"),
        ("block_dims_map=[a:4xb]", "hparams: block_dims_map: a: expected height x width, such as 4x4, found '4xb'"),
    ],
)
def test_what_contribs_pruning_refuses_is_refused(text, message):
    with tf.Graph().as_default():
        tf.train.get_or_create_global_step()
        hparams = model_pruning.get_pruning_hparams().parse(text)
        with pytest.raises((ValueError, re.error)):
            model_pruning.Pruning(hparams)
    with pytest.raises(SpecError) as caught:
        PruningSpec.from_hparams(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "text, message",
    [
        ("use_tpu=true", "hparams: use_tpu: expected false, found true"),
        ("block_pooling_function=SUM", "hparams: block_pooling_function: expected AVG or MAX, found 'SUM'"),
        ("block_height=0", "hparams: block_height, block_width: block: expected a height of at least 1, or -1"),
        ("block_dims_map=[a:4x0]", "hparams: block_dims_map: a: block: expected a width of at least 1, or -1"),
        ("pruning_frequency=0", "hparams: pruning_frequency: expected at least 1, found 0"),
        ("sparsity_function_exponent=0", "hparams: sparsity_function_exponent: expected a number above 0, found 0"),
        ("weight_sparsity_map=[a:-0.5]", "hparams: weight_sparsity_map: a: expected a fraction of zeros"),
        (
            "weight_sparsity_map=[(?i)a:0.5],block_dims_map=[b:2x2]",
            "hparams: weight_sparsity_map, block_dims_map: '(?i)a' cannot be joined with a pattern of the other map",
        ),
    ],
)
def test_what_would_fail_or_go_wrong_later_in_contrib_is_refused_at_once(text, message):
    assert contribs_values(text) is not None
    with pytest.raises(SpecError) as caught:
        PruningSpec.from_hparams(text)
    assert str(caught.value).startswith(message)


MAPS = [
    "weight_sparsity_map=[conv1:0.9,conv2/kernel:0.8,^dense:0.25]",
    "block_dims_map=[conv1:4x4,dense2$:1x16,conv3:1x1],block_height=2,block_width=2",
    "weight_sparsity_map=[conv1:0.9,kernel$:0.8],block_dims_map=[conv2:4x4,^dense1:2x1,conv1:8x1],block_width=3",
    "weight_sparsity_map=[conv1:0.9,conv1:0.3],block_dims_map=[conv1:4x4,conv1:2x2]",
    "weight_sparsity_map=[conv.*nel:0.9],block_dims_map=[(1|2):4x4]",
]
WEIGHTS = [
    "conv1/weights",
    "conv2/kernel",
    "conv2/weights",
    "net/conv3/weights",
    "dense1",
    "dense2",
    "net/dense1/kernel",
]


def contribs_answers(text: str, names: Any, steps: Any) -> Dict[str, Any]:
    """Returns contrib's block of each weight and its sparsity at each step, where no two of its patterns match."""
    with tf.Graph().as_default() as graph, op_by_op(graph) as session:
        global_step = tf.train.get_or_create_global_step()
        pruning = model_pruning.Pruning(model_pruning.get_pruning_hparams().parse(text))
        sparsities, blocks = {}, {}
        for name in names:
            try:
                sparsities[name], blocks[name] = pruning._get_sparsity(name), list(pruning._get_block_dims(name))
            except ValueError as error:
                assert "Multiple matches" in str(error)
        answers: Dict[str, Any] = {name: (blocks[name], []) for name in blocks}
        for step in steps:
            for name, value in session.run(sparsities, {global_step: step}).items():
                if name in answers:
                    answers[name][1].append(value)
        return answers


@pytest.mark.parametrize("maps", MAPS)
def test_each_weight_gets_the_sparsity_and_the_block_that_contrib_gives_it(maps):
    text = f"{maps},target_sparsity=0.7,sparsity_function_end_step=97"
    spec = PruningSpec.from_hparams(text)
    steps = [0, 1, 10, 33, 50, 96]
    expected = contribs_answers(text, WEIGHTS, steps)
    assert len(expected) >= 5
    for name, (block, sparsities) in expected.items():
        weight = spec.for_weight(name)
        ours = np.asarray([weight_sparsity_at(spec, weight.target_sparsity, step) for step in steps], np.float32)
        assert ours.tobytes() == np.asarray(sparsities, np.float32).tobytes(), name
        structure = weight.structure
        assert block == ([1, 1] if structure == Element() else [structure.height, structure.width]), name


@pytest.mark.parametrize("exponent", [0.5, 1, 2, 3, 3.3])
def test_the_curve_is_contribs_where_it_does_not_begin_and_end_with_the_updates(exponent):
    text = (
        "begin_pruning_step=20,end_pruning_step=90,initial_sparsity=0.1,target_sparsity=0.7,"
        f"sparsity_function_begin_step=13,sparsity_function_end_step=97,sparsity_function_exponent={exponent}"
    )
    spec, steps = PruningSpec.from_hparams(text), range(110)
    (_, theirs) = contribs_answers(text, ["a"], steps)["a"]
    assert [np.float32(sparsity_at(spec, step)).tobytes() for step in steps] == [value.tobytes() for value in theirs]
    assert sparsity_at(spec, 13) != sparsity_at(spec, 14), "the curve, not the updates, begins at 13"


def test_the_spec_s_own_sparsity_would_be_noticed():
    text = "target_sparsity=0.7,weight_sparsity_map=[a:0.6]"
    (_, (sparsity,)) = contribs_answers(text, ["a"], [50])["a"]
    assert np.float32(sparsity_at(PruningSpec.from_hparams(text), 50)) != sparsity


def test_where_contrib_finds_two_patterns_the_first_applies():
    text = "target_sparsity=0.7,weight_sparsity_map=[conv:0.9,kernel:0.8]"
    assert contribs_answers(text, ["conv/kernel"], []) == {}
    assert PruningSpec.from_hparams(text).for_weight("conv/kernel").target_sparsity == 0.9


def test_joined_patterns_may_match_nothing_but_contribs_own_may_not():
    spec = PruningSpec.from_hparams("weight_sparsity_map=[conv:0.9],block_dims_map=[dense:2x2]")
    assert spec.unmatched_patterns(["conv/kernel", "dense/kernel"]) == ()
    assert [pattern for _, pattern in spec.unmatched_patterns(["conv/kernel"])] == ["dense"]
