"""The API's Mask R-CNN Inception V2, masked by hand as in a blog and by auto_mask: the same names and outputs."""

import numpy as np
import pytest

from tests.helpers.bits import assert_same_bits, differences
from tests.models.blog import by_hand, forward, runs


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return runs.Scenes.write(tmp_path_factory.mktemp("blog"))


@pytest.fixture(scope="module")
def hand_masked(scenes):
    return forward.build(scenes, by_hand.masked_creator(runs.BLOG.substituted), scenes.root / "hand")


@pytest.fixture(scope="module")
def auto_masked(scenes):
    return forward.build(scenes, runs.auto_masked_creator(runs.BLOG.spec), scenes.root / "ours")


def test_masks_and_thresholds_have_the_same_names(hand_masked, auto_masked):
    assert len(hand_masked.masked) == 68
    assert auto_masked.masked == hand_masked.masked
    left = {**hand_masked.shapes, runs.LAST_UPDATE_STEP: ()}
    assert auto_masked.shapes == left


def test_the_same_values_make_the_same_predictions(hand_masked, auto_masked):
    # contrib's step of the last update exists only where its hook has begun.
    values = {**forward.values_of(hand_masked), runs.LAST_UPDATE_STEP: np.int32(-1)}
    image = np.random.RandomState(0).randint(0, 256, (forward.SIDE, forward.SIDE, 3))
    theirs = forward.predict(hand_masked, values, image)
    assert {"detection_masks", "detection_boxes", "raw_detection_scores"} <= set(theirs)
    assert_same_bits(forward.predict(auto_masked, values, image), theirs)
    # One bit of one mask is seen.
    _, mask, _ = hand_masked.masked[0]
    other = {**values, mask: 1 - values[mask]}
    assert differences(forward.predict(auto_masked, other, image), theirs)
