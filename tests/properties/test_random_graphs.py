"""Guarantees of masking, over random graphs.

The graphs are the same in every run. ``GRAPH_MASKER_FUZZ=<seed>`` draws others; ``GRAPH_MASKER_FUZZ_GRAPHS=<n>`` says
how many. A failure prints its smallest model, which `test_shrunk` can hold.
"""

import os
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, event, given, reject, seed, settings

from fixtures.random_graphs import Model
from tests.helpers.bits import assert_same_bits
from tests.properties.checks import check_everything, trained
from tests.properties.generator import models
from tests.properties.twins import Refused

SEED = os.environ.get("GRAPH_MASKER_FUZZ", "")
GRAPHS = os.environ.get("GRAPH_MASKER_FUZZ_GRAPHS", "")
DEFAULT, FEWER, MANY = 20, 8, 240


def check_unless_refused(check: Callable[..., None], model: Model, way: str) -> None:
    """Leaves out models whose gradients cannot be matched with certainty, and says of how many it was so."""
    try:
        check(model, way)
    except Refused:
        event("refused")
        reject()
    event("masked")


def assert_trains_alike(model: Model, way: str) -> None:
    """Asserts that a model trains as it does when it is masked before its gradients are built."""
    assert_same_bits(trained(model, way), trained(model, "before"))


def over_random_models(count: int) -> Callable[[Callable[..., None]], Any]:
    """Runs a test on `count` random models, all of them generated ones."""
    applied = settings(
        max_examples=int(GRAPHS or count),
        deadline=None,
        derandomize=not SEED,
        database=None,
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )

    def decorate(test: Callable[..., None]) -> Any:
        drawn = given(model=models())(applied(test))
        return seed(int(SEED))(drawn) if SEED else drawn

    return decorate


@over_random_models(DEFAULT)
def test_every_guarantee_holds(model: Model):
    check_everything(model, "before")


@over_random_models(FEWER)
def test_every_guarantee_holds_where_gradients_exist(model: Model):
    check_unless_refused(check_everything, model, "after")


@over_random_models(FEWER)
def test_both_ways_of_masking_train_alike(model: Model):
    check_unless_refused(assert_trains_alike, model, "after")


@pytest.mark.slow
@over_random_models(MANY)
def test_every_guarantee_holds_for_many_graphs(model: Model):
    check_everything(model, "before")


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_everything, assert_trains_alike], ids=["guarantees", "training"])
@over_random_models(MANY // 2)
def test_many_graphs_whose_gradients_exist(check: Callable[..., None], model: Model):
    check_unless_refused(check, model, "after")
