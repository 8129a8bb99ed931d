"""Rules: the first that matches applies, and contradictions are named."""

import pytest

from graph_masker.errors import SpecError
from graph_masker.spec import NM, Block, Channel, Element, PruningSpec, Rule

BASE = {"target_sparsity": 0.8, "begin_step": 0, "end_step": 100}


def test_the_first_rule_that_matches_applies():
    spec = PruningSpec(
        **BASE,
        rules=[
            {"match": "conv1/", "sparsity": 0.5},
            {"match": "conv", "structure": {"block": [4, 1]}, "criterion": "taylor"},
            {"match": "logits", "exclude": True},
            {"match": "conv3", "sparsity": 0.1},
        ],
    )
    one, two, three = (spec.for_weight(f"net/conv{number}/kernel") for number in (1, 2, 3))
    assert (one.rule, one.target_sparsity, one.structure, one.criterion, one.fixed) == (
        0,
        0.5,
        Element(),
        "magnitude",
        True,
    )
    assert (two.rule, two.target_sparsity, two.structure, two.criterion, two.fixed) == (
        1,
        0.8,
        Block(4, 1),
        "taylor",
        False,
    )
    assert three == two
    other = spec.for_weight("dense/kernel")
    assert (other.rule, other.target_sparsity, other.fixed, other.excluded) == (None, 0.8, False, False)
    logits = spec.for_weight("logits/kernel")
    assert (logits.excluded, logits.excluded_by, logits.rule) == (True, "excluded by rules[2], 'logits'", 2)


def test_a_rule_that_says_nothing_shields_from_those_after_it():
    spec = PruningSpec(**BASE, rules=[{"match": "conv1/"}, {"match": "conv", "exclude": True}])
    assert not spec.for_weight("conv1/kernel").excluded
    assert spec.for_weight("conv2/kernel").excluded


def test_exclude_comes_before_include_and_both_before_rules():
    spec = PruningSpec(**BASE, include=["conv"], exclude=["conv2"], rules=[{"match": "kernel", "sparsity": 0.1}])
    assert spec.for_weight("conv1/kernel").target_sparsity == 0.1
    assert spec.for_weight("conv2/kernel").excluded_by == "excluded by 'conv2'"
    assert spec.for_weight("dense/kernel").excluded_by == "no include pattern matches it"
    assert spec.for_weight("conv1/kernel").excluded_by == ""


def test_n_of_m_brings_its_target():
    spec = PruningSpec(
        **BASE, rules=[{"match": "conv", "structure": "1:4"}, {"match": "x", "structure": "1:3", "sparsity": 2 / 3}]
    )
    assert (spec.for_weight("conv").target_sparsity, spec.for_weight("conv").structure) == (0.75, NM(1, 4))
    assert not spec.for_weight("conv").fixed
    whole = PruningSpec(begin_step=0, end_step=10, structure="2:4", rules=[{"match": "conv", "structure": "element"}])
    assert whole.target_sparsity == 0.5
    assert whole.for_weight("conv").target_sparsity == 0.5
    # 1 - 1/3 is not 2/3 in binary, and is meant as it.
    assert PruningSpec(1 - 1 / 3, 0, 10, structure="1:3").target_sparsity == 2 / 3


def test_groups_of_global_allocation():
    spec = PruningSpec(
        **BASE,
        allocation="global",
        rules=[
            {"match": "backbone1", "group": "backbone", "sparsity": 0.9},
            {"match": "backbone2", "group": "backbone", "sparsity": 0.9},
            {"match": "alone", "sparsity": 0.5},
            {"match": "rows", "structure": "channel"},
            {"match": "same", "sparsity": 0.8},
        ],
    )
    groups = {name: spec.for_weight(name).group for name in ("backbone1", "backbone2", "alone", "rows", "same", "rest")}
    assert groups == {
        "backbone1": "backbone",
        "backbone2": "backbone",
        "alone": None,
        "rows": None,
        "same": "all",
        "rest": "all",
    }
    assert PruningSpec(**BASE).for_weight("rest").group is None


def test_patterns_that_match_nothing_are_listed():
    spec = PruningSpec(
        **BASE,
        include=["conv", "absent"],
        exclude=["none"],
        rules=[{"match": "conv1"}, {"match": "conv9"}, {"match": "conv8", "optional": True}],
    )
    names = ["conv1/kernel", "conv2/kernel"]
    assert spec.unmatched_patterns(names) == (("include", "absent"), ("exclude", "none"), ("rules[1].match", "conv9"))
    assert spec.unmatched_patterns(iter([*names, "absent", "none", "conv9"])) == ()
    # A pattern that is found counts, even where an earlier rule took all of its weights.
    shadowed = PruningSpec(**BASE, rules=[{"match": "conv"}, {"match": "conv1"}])
    assert shadowed.unmatched_patterns(names) == ()


def test_plain_rules_hold_what_they_say_and_no_more():
    plain = [
        {"match": "a"},
        {"match": "b", "sparsity": 0.0},
        {"match": "c", "exclude": True, "optional": True},
        {"match": "d", "structure": {"channel": "l2"}, "criterion": "taylor"},
    ]
    spec = PruningSpec(**BASE, rules=plain)
    assert spec.to_dict()["rules"] == plain
    assert spec.rules[3] == Rule("d", structure=Channel("l2"), criterion="taylor")


@pytest.mark.parametrize(
    "rules, message",
    [
        ("conv", "rules: expected a list of rules, such as [{match: conv1, sparsity: 0.5}], found 'conv'"),
        ({"match": "conv"}, "rules: expected a list of rules"),
        (["conv"], "rules[0]: expected a mapping such as {match: conv1, sparsity: 0.5}, found 'conv'"),
        ([{"sparsity": 0.5}], "rules[0]: missing match: a rule needs a regular expression"),
        ([{"match": "a"}, {"match": "b", "block": [1, 2]}], "rules[1]: unknown key block: allowed are match, sparsity"),
        ([{"match": "("}], "rules[0]: match: '(' is not a regular expression"),
        ([{"match": 3}], "rules[0]: match: expected a regular expression, found 3"),
        ([{"match": "a", "sparsity": 1}], "rules[0]: sparsity: expected a fraction of zeros with 0 <= s < 1, found 1"),
        ([{"match": "a", "exclude": "yes"}], "rules[0]: exclude: expected true or false, found 'yes'"),
        ([{"match": "a", "exclude": True, "sparsity": 0.5}], "rules[0]: exclude: weights left dense take no sparsity"),
        ([{"match": "a", "structure": "5:4"}], "rules[0]: structure: n:m: expected 1 <= n < m"),
        (
            [{"match": "a", "criterion": "size"}],
            "rules[0]: criterion: expected magnitude or movement or taylor, found 'size'",
        ),
        ([{"match": "a", "group": ""}], "rules[0]: group: expected a name, found ''"),
        ([{"match": "a", "group": "g"}], "rules[0].group: expected no group where allocation is uniform, found 'g'"),
        (
            [{"match": "a", "structure": "1:4", "sparsity": 0.8}],
            "rules[0].sparsity: expected 0.75, which is what 1:4 stands for, found 0.8; leave sparsity out",
        ),
    ],
)
def test_a_bad_rule_is_named(rules, message):
    with pytest.raises(SpecError) as caught:
        PruningSpec(**BASE, rules=rules)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {
                "allocation": "global",
                "rules": [{"match": "a", "group": "g", "sparsity": 0.5}, {"match": "b", "group": "g"}],
            },
            "rules[1].group: weights of group 'g' share one threshold; expected the sparsity, structure and "
            "criterion of rules[0], found others",
        ),
        (
            {"allocation": "global", "rules": [{"match": "a", "group": "all", "structure": "channel"}]},
            "rules[0].group: weights of group 'all' share one threshold; expected the sparsity, structure and "
            "criterion of the spec, found others",
        ),
        (
            {"allocation": "erk", "rules": [{"match": "a", "structure": "2:4"}]},
            "rules[0].structure: 2:4 fixes the sparsity that allocation erk would choose; set allocation to uniform",
        ),
        (
            {"allocation": "erk", "max_sparsity": 0.9, "rules": [{"match": "a", "sparsity": 0.95}]},
            "rules[0].sparsity: expected at most max_sparsity, 0.9, found 0.95",
        ),
        (
            {"threshold_decay": 0.5, "rules": [{"match": "a", "structure": "2:4"}]},
            "rules[0].structure: 2:4 has no threshold that threshold_decay could smooth",
        ),
        (
            {"target_sparsity": 0.0, "rules": [{"match": "a", "sparsity": 0.5}]},
            "rules[0].sparsity: 0.5 follows the schedule in proportion to target_sparsity, found 0;",
        ),
    ],
)
def test_rules_and_the_rest_of_a_spec_may_not_contradict_each_other(change, message):
    with pytest.raises(SpecError) as caught:
        PruningSpec(**{**BASE, **change})
    assert str(caught.value).startswith(message)


def test_without_a_curve_a_target_of_0_leaves_rules_alone():
    spec = PruningSpec(0.0, 0, schedule="one_shot", rules=[{"match": "a", "sparsity": 0.5}])
    assert spec.for_weight("a").target_sparsity == 0.5
    assert PruningSpec(0.0, 0, 10, rules=[{"match": "a", "sparsity": 0.0}]).for_weight("a").target_sparsity == 0.0


def test_movement_has_no_l2_norm_of_channels():
    for options in ({"structure": {"channel": "l2"}}, {"rules": [{"match": "fc", "structure": {"channel": "l2"}}]}):
        with pytest.raises(SpecError, match=r"structure: movement scores have signs.*use channel, l1"):
            PruningSpec(0.5, 0, 10, criterion="movement", **options)
    assert PruningSpec(0.5, 0, 10, criterion="movement", structure="channel").criterion == "movement"


def test_one_threshold_for_all_cannot_be_smoothed():
    with pytest.raises(SpecError, match=r"threshold_decay: expected none where allocation is global"):
        PruningSpec(0.5, 0, 10, allocation="global", threshold_decay=0.5)
