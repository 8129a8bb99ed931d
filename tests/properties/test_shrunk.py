"""Models that random search found and shrank. Each one failed once, or fails as yet."""

import pytest
import tensorflow.compat.v1 as tf

from fixtures.random_graphs import Cond, Layer, Loop, Model
from graph_masker.errors import SurgeryError
from tests.properties.checks import check_everything

FAILING = {
    "alias_of_a_read_feeds_model_and_average": (
        Model((Layer("dynamic_lstm"),), kind="resource", averages="before"),
        SurgeryError,
        "a consumer that reads an Identity of the read, which an average reads too, is planned as reading the read",
    ),
    "ref_variable_read_inside_a_cond": (
        Model((Layer("matmul"), Cond((Layer("matmul", read="read_value"),)))),
        tf.errors.InvalidArgumentError,
        "a RefSwitch takes a variable itself, and is given the masked weight, which is a value",
    ),
    "ref_variable_read_inside_a_loop": (
        Model((Layer("matmul"), Loop((Layer("matmul", read="read_value"),)))),
        tf.errors.InvalidArgumentError,
        "a RefEnter takes a variable itself, and is given the masked weight, which is a value",
    ),
}


def _rows():
    for name, (model, error, cause) in FAILING.items():
        yield pytest.param(model, id=name, marks=pytest.mark.xfail(strict=True, raises=error, reason=cause))


@pytest.mark.parametrize("model", _rows())
def test_known_failure(model: Model):
    check_everything(model)
