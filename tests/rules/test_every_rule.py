"""Every rule is covered by a toy graph that needs it."""

import pytest

from fixtures.toys import TOYS, Toy, build_toy, rules_without_toy
from graph_masker import tf_compat
from graph_masker.sites import find_sites
from rewriters import DEFAULT_RULES, ReadRule

ROWS = [pytest.param(toy, kind, id=f"{toy.rule}-{toy.name}-{kind}") for toy in TOYS for kind in toy.kinds]


def test_every_rule_has_a_toy():
    assert rules_without_toy([rule.op_type for rule in DEFAULT_RULES]) == []


def test_a_rule_without_a_toy_is_reported():
    rules = (*DEFAULT_RULES, ReadRule("InventedOp"))
    assert rules_without_toy([rule.op_type for rule in rules]) == ["InventedOp"]


def test_no_op_type_has_two_rules():
    op_types = [rule.op_type for rule in DEFAULT_RULES]
    assert len(set(op_types)) == len(op_types)


@pytest.mark.parametrize("toy, kind", ROWS)
def test_the_toy_needs_its_rule(toy: Toy, kind: str):
    built = build_toy(toy, kind)
    view = tf_compat.view_of_graph(built.graph)
    without = [rule for rule in DEFAULT_RULES if rule.op_type != toy.rule]
    complete = find_sites(view, DEFAULT_RULES, [built.output.name])
    reduced = find_sites(view, without, [built.output.name])
    assert [(c.variable, c.consumers) for c in reduced.candidates] != [
        (c.variable, c.consumers) for c in complete.candidates
    ]
