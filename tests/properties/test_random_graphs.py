"""Guarantees of masking, over random graphs.

The graphs are the same in every run. ``GRAPH_MASKER_FUZZ=<seed>`` draws others; ``GRAPH_MASKER_FUZZ_GRAPHS=<n>`` says
how many. A failure prints its smallest model, which `test_shrunk` can hold.
"""

import os
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, seed, settings

from fixtures.random_graphs import Model
from tests.helpers.bits import assert_same_bits
from tests.properties.checks import check_everything, trained
from tests.properties.generator import models
from tests.properties.known import is_known_to_fail

# The ways a graph is masked, of `twins.MASKED`. The first is what the others are compared with.
WAYS = ("before",)

SEED = os.environ.get("GRAPH_MASKER_FUZZ", "")
GRAPHS = os.environ.get("GRAPH_MASKER_FUZZ_GRAPHS", "")
DEFAULT, MANY = 40, 240


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
        drawn = given(model=models().filter(lambda model: not is_known_to_fail(model)))(applied(test))
        return seed(int(SEED))(drawn) if SEED else drawn

    return decorate


@pytest.mark.parametrize("way", WAYS)
@over_random_models(DEFAULT)
def test_every_guarantee_holds(way: str, model: Model):
    check_everything(model, way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@over_random_models(MANY)
def test_every_guarantee_holds_for_many_graphs(way: str, model: Model):
    check_everything(model, way)


@pytest.mark.parametrize("way", WAYS[1:])
@over_random_models(DEFAULT)
def test_every_way_of_masking_trains_alike(way: str, model: Model):
    assert_same_bits(trained(model, way), trained(model, WAYS[0]))
