"""Negative controls: the comparison helpers must fail where something differs."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests.helpers.bits import assert_same_bits, differences, flip_last_bit, unsigned_zeros
from tests.helpers.graphs import snapshot

WEIGHT = np.array([1.5, -0.25, 0.0], np.float32)


def test_equal_arrays_pass():
    assert_same_bits({"w": WEIGHT}, {"w": WEIGHT.copy()})


@pytest.mark.parametrize(
    "other",
    [
        {"w": flip_last_bit(WEIGHT)},
        {"w": -WEIGHT * np.float32(-1.0) * np.array([1, 1, -1], np.float32)},
        {"w": WEIGHT.astype(np.float64)},
        {"w": WEIGHT.reshape(1, 3)},
        {},
        {"w": WEIGHT, "v": WEIGHT},
    ],
    ids=["last bit", "sign of zero", "type", "shape", "missing", "more"],
)
def test_any_difference_fails(other):
    with pytest.raises(AssertionError):
        assert_same_bits({"w": WEIGHT}, other)
    with pytest.raises(AssertionError):
        assert_same_bits(other, {"w": WEIGHT})


def test_flip_last_bit_changes_one_value_by_one_unit():
    flipped = flip_last_bit(WEIGHT)
    assert flipped[0] == np.nextafter(np.float32(1.5), np.float32(2))
    assert list(flipped[1:]) == list(WEIGHT[1:])


def test_unsigned_zeros_hides_the_sign_of_zeros_and_nothing_else():
    assert_same_bits({"w": unsigned_zeros(np.array([-0.0, -1.0]))}, {"w": np.array([0.0, -1.0])})
    assert differences({"w": unsigned_zeros(flip_last_bit(WEIGHT))}, {"w": WEIGHT})


def test_snapshot_sees_a_moved_edge():
    with tf.Graph().as_default() as graph:
        one, two = tf.constant(1.0, name="one"), tf.constant(2.0, name="two")
        total = tf.add(one, two)
        before = snapshot(graph)
        total.op._update_input(0, two)
    assert snapshot(graph) != before
