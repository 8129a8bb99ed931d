"""Training Mask R-CNN Inception V2 masked by hand as in a blog, and by auto_mask: the same, bit for bit."""

from dataclasses import replace

import pytest

from graph_masker.schedule import update_steps
from tests.helpers.bits import assert_same_bits, differences
from tests.models.blog import measuring, runs
from tests.models.blog.measuring import SIDES
from tests.models.blog.runs import BLOG, HALF, RESUMED, STEPS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return runs.Scenes.write(tmp_path_factory.mktemp("blog"))


@pytest.fixture(scope="module")
def whole(scenes):
    return measuring.train_whole(scenes)


def test_thirty_steps_with_five_updates(whole):
    hand, ours = whole["by hand"], whole["auto_mask"]
    assert list(hand.steps) == list(range(1, STEPS + 1)) and STEPS == 30
    assert tuple(update_steps(BLOG.spec)) == (5, 10, 15, 20, 25)
    assert len(hand.masked) == 68 and ours.masked == hand.masked
    assert_same_bits(ours.flat(), hand.flat())
    # Training moved, and each update changed masks.
    _, mask, _ = hand.masked[0]
    for step in (5, 10, 15, 20, 25):
        assert differences({mask: hand.steps[step][mask]}, {mask: hand.steps[step - 1][mask]})
    assert len({float(step["total_loss"]) for step in hand.steps.values()}) == STEPS
    # Of ten million weights few are equal at a cut.
    assert len(hand.ties) <= 8 and all(tie.equal == tie.surplus + 1 for tie in hand.ties)


@pytest.mark.parametrize("first", SIDES)
def test_a_checkpoint_goes_on_either_way(scenes, whole, first):
    stayed, exchanged = (measuring.resume(scenes, first, second) for second in (first, *set(SIDES) - {first}))
    assert list(stayed.steps) == list(range(HALF + 1, RESUMED + 1))
    assert_same_bits(exchanged.flat(), stayed.flat())
    # It did begin where the other stopped: with its masks, after its last update.
    start, end = whole[first].steps[HALF], exchanged.steps[HALF + 1]
    masks = [mask for _, mask, _ in exchanged.masked]
    kept = [*masks, runs.LAST_UPDATE_STEP]
    assert_same_bits({name: end[name] for name in kept}, {name: start[name] for name in kept})


def test_the_blogs_checkpoint_does_not_go_on_there_and_does_here(scenes, whole):
    """The API's saver is made before the hook's step of the last update."""
    error = measuring.resume_as_blogged(scenes)
    assert error.endswith(f"Variables not initialized: {runs.LAST_UPDATE_STEP}")
    taken_over = measuring.take_over(scenes)
    assert list(taken_over.steps) == [STEPS + 1, STEPS + 2]
    assert len(taken_over.masked) == 68


def test_all_layers_that_contrib_has_masked_ones_for(scenes):
    everywhere = measuring.train_everywhere(scenes)
    assert len(everywhere["by hand"].masked) == 76
    assert sorted(everywhere["auto_mask"].masked) == sorted(everywhere["by hand"].masked)
    assert_same_bits(everywhere["auto_mask"].flat(), everywhere["by hand"].flat())


def test_another_sparsity_is_seen(scenes, whole):
    spec = replace(BLOG.spec, initial_sparsity=0.11)
    other = runs.auto_masked_run(scenes, spec, scenes.root / "other", 6)
    equal = [step for step in other.steps if not differences(other.steps[step], whole["by hand"].steps[step])]
    # The first update follows step 5.
    assert equal == [1, 2, 3, 4]
