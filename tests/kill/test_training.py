"""Training killed at any instant and resumed ends, bit for bit, as if nothing had been."""

import os
import random
import signal
from dataclasses import replace
from typing import Any, List

import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from tests.helpers.bits import assert_same_bits, differences
from tests.kill.harness import ADVANCED, WEIGHTS, Kill, check_checkpoint, check_directory, latest_step
from tests.kill.models import LAST_UPDATE, MODELS, SAVE_STEPS, SPEC, STEPS, UPDATES
from tests.kill.trainee import SAVE_POINTS, SHARDED_ONLY, UPDATE_POINTS, Request

KILLED = [name for name in MODELS if name != "forgetting"]


def _killed(trainee: Any, request: Request, kill: Kill, scratch: str) -> bool:
    """Starts or resumes a run, kills it, and checks what it leaves; returns whether the kill came before the end."""
    before = latest_step(request.model_dir)
    ended = trainee.run(request, kill)
    assert ended.killed or kill.point == "", f"{kill}: not reached; {ended.lines[-3:]} {ended.errors}"
    found = check_directory(request.model_dir, request.model, scratch)
    assert found >= max(before, ended.saved), f"{kill}: a checkpoint was lost"
    if kill.point == "in_data":
        assert os.WTERMSIG(ended.status) == signal.SIGXFSZ
    if kill.point in ADVANCED:
        assert found == kill.at, kill
    elif kill.point:
        assert found == max(before, ended.saved), kill
    return bool(ended.killed)


def _resumed(trainee: Any, request: Request) -> Any:
    """Trains to the end; returns the last checkpoint."""
    ended = trainee.run(request)
    assert ended.status == 0, ended.errors
    assert latest_step(request.model_dir) == request.steps
    return read_all(request.model_dir)


def _save_points(model: str) -> List[str]:
    return [point for point in SAVE_POINTS if MODELS[model].sharded or point not in SHARDED_ONLY]


def test_the_schedule_is_what_the_checks_take_it_for():
    from graph_masker.schedule import update_steps

    assert tuple(update_steps(SPEC)) == UPDATES
    assert any(step % SAVE_STEPS == 0 for step in UPDATES)
    assert any(step % SAVE_STEPS for step in UPDATES)


@pytest.mark.parametrize("model", ["plain", "session"])
def test_killed_in_an_update_and_in_a_checkpoint(trainee: Any, uninterrupted: Any, tmp_path: Any, model: str):
    request = Request(str(tmp_path / "model"), model)
    for kill in (Kill("in_update", 6), Kill("index", 3), Kill("meta", 6), Kill("state", 9)):
        _killed(trainee, request, kill, str(tmp_path / "folded"))
    assert_same_bits(_resumed(trainee, request), uninterrupted(model))


@pytest.mark.slow
@pytest.mark.parametrize("model", KILLED)
def test_killed_at_every_point(trainee: Any, uninterrupted: Any, tmp_path: Any, model: str):
    """One run, killed at every point on its way: in updates, in new checkpoints, and in one that is written again."""
    request = Request(str(tmp_path / "model"), model)
    scratch = str(tmp_path / "folded")
    for point in UPDATE_POINTS:
        step = max(0, latest_step(request.model_dir))
        _killed(trainee, request, Kill(point, next(update for update in UPDATES if update > step)), scratch)
    for point in [point for point in _save_points(model) if point != "deleting"]:
        # A run that resumes writes the checkpoint again that it has resumed from. It deletes none then.
        _killed(trainee, request, Kill(point, latest_step(request.model_dir)), scratch)
    for point in _save_points(model):
        _killed(trainee, request, Kill(point, latest_step(request.model_dir) + SAVE_STEPS), scratch)
    assert_same_bits(_resumed(trainee, request), uninterrupted(model))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", KILLED)
def test_killed_at_random(trainee: Any, uninterrupted: Any, tmp_path: Any, model: str, seed: int):
    """Killed at random moments: of the start, of steps, of checkpoints. The test's name holds the seed."""
    draw = random.Random(f"{model} {seed}")
    request = Request(str(tmp_path / "model"), model)
    kills, landed = [], 0
    for _ in range(6):
        step = max(0, latest_step(request.model_dir))
        saved = draw.choice([step, step + SAVE_STEPS])
        kill = draw.choice(
            [
                Kill(delay=draw.uniform(0, 1.2)),
                Kill(line=f"step {draw.randint(step, step + 5)}", delay=draw.uniform(0, 0.01)),
                Kill(line=f"saving {saved}", delay=draw.uniform(0, 0.02)),
                Kill(line=f"saving {saved}", delay=draw.uniform(0, 0.1)),
            ]
        )
        kills.append(kill)
        landed += _killed(trainee, request, kill, str(tmp_path / "folded"))
    assert landed >= 2, kills
    lines = differences(_resumed(trainee, request), uninterrupted(model))
    assert not lines, f"after {kills}: {lines}"


@pytest.mark.parametrize(
    "at, reset, more, name",
    [(21, [LAST_UPDATE], 0, LAST_UPDATE), (21, [], 1, "global_step"), (9, ["hidden/mask"], 0, "hidden/mask")],
    ids=["update_step", "one_more_step", "a_mask"],
)
def test_what_is_lost_is_seen(
    trainee: Any, uninterrupted: Any, tmp_path: Any, at: int, reset: Any, more: int, name: str
):
    """The control of the comparison: it names what a run lost on resuming, or a step that it made too many."""
    request = Request(str(tmp_path / "model"))
    assert trainee.run(request, Kill("after_save", at)).killed
    lines = differences(_resumed(trainee, replace(request, reset=reset, steps=STEPS + more)), uninterrupted("plain"))
    assert any(line.startswith(name + ":") for line in lines), lines


def test_pruning_state_outside_of_the_checkpoint_is_seen(trainee: Any, uninterrupted: Any, tmp_path: Any):
    """The control of all: a model masked as `plain` is, whose saver knows nothing of masks."""
    request = Request(str(tmp_path / "model"), "forgetting")
    assert trainee.run(request, Kill("after_save", 9)).killed
    with pytest.raises(KeyError, match=LAST_UPDATE):
        check_checkpoint(tf.train.latest_checkpoint(request.model_dir), "plain")
    found = {**_resumed(trainee, request)}
    expected = uninterrupted("plain")
    assert set(expected) - set(found) == {
        LAST_UPDATE,
        *(f"{w}/{leaf}" for w in WEIGHTS for leaf in ("mask", "threshold")),
    }
    lines = differences(found, {name: expected[name] for name in found})
    assert any(line.startswith("hidden/kernel:") for line in lines), lines


@pytest.mark.parametrize("model", ["plain", "session"])
def test_a_checkpoint_that_is_replaced_as_tensorflow_does_it_is_lost(trainee: Any, tmp_path: Any, model: str):
    """The control of `index`: what is damaged there is what a run resumes from, if nobody takes care."""
    request = Request(str(tmp_path / "model"), model, unsafe=True)
    assert trainee.run(request, Kill("after_save", 3)).killed
    assert trainee.run(request, Kill("index", 3)).killed
    with pytest.raises(tf.errors.DataLossError):
        check_directory(request.model_dir, request.model, str(tmp_path / "folded"))
    ended = trainee.run(request)
    assert ended.status == 1 << 8
    assert "expected a complete checkpoint" in ended.errors


def test_too_few_zeros_are_seen(trainee: Any, tmp_path: Any):
    """The control of the check of one checkpoint: a mask that was reset and not updated since."""
    request = Request(str(tmp_path / "model"))
    assert trainee.run(request, Kill("after_save", 6)).killed
    check_checkpoint(tf.train.latest_checkpoint(request.model_dir), "plain")
    assert trainee.run(replace(request, reset=["hidden/mask"]), Kill("after_save", 9)).killed
    with pytest.raises(AssertionError, match="hidden/mask: 0 zeros, expected"):
        check_checkpoint(tf.train.latest_checkpoint(request.model_dir), "plain")
