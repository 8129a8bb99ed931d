"""A saver made safe: a checkpoint to resume from is there at every moment, also while the latest is replaced."""

import os
from typing import Any, List, Optional

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import DestinationError
from graph_masker.saving import guarding
from graph_masker.saving.guarding import save_safely
from tests.helpers.running import initialize


class _Recording(tf.train.Saver):
    """A saver that looks, before it writes, at what there is."""

    error: Optional[Exception] = None

    def save(self, sess: Any, save_path: str, *args: Any, **kwargs: Any) -> Any:
        folder = os.path.dirname(save_path)
        self.latest, self.files = tf.train.latest_checkpoint(folder), sorted(os.listdir(folder))
        state = tf.train.get_checkpoint_state(folder)
        self.listed = [] if state is None else list(state.all_model_checkpoint_paths)
        self.value = None if self.latest is None else read_all(self.latest)["value"].tolist()
        if self.error is not None:
            raise self.error
        return super().save(sess, save_path, *args, **kwargs)


class _Saved:
    """A variable, a session and a saver."""

    def __init__(self, folder: Any, **options: Any) -> None:
        self.folder = str(folder)
        with tf.Graph().as_default() as graph:
            value = tf.get_variable("value", initializer=np.zeros(2, np.float32))
            self.step = tf.train.create_global_step()
            self._add = value.assign_add([1.0, 1.0])
            self.saver = _Recording(sharded=True, **options)
            save_safely(self.saver)
            self.session = tf.Session(graph=graph)
            initialize(self.session)

    def save(self, step: Any, **options: Any) -> str:
        """Adds one to the variable and saves it."""
        self.session.run(self._add)
        with self.session.graph.as_default():
            path: str = self.saver.save(self.session, os.path.join(self.folder, "model.ckpt"), step, **options)
        return path

    def names(self) -> List[str]:
        return sorted(os.listdir(self.folder))

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def _names_of(prefix: str) -> List[str]:
    return [f"{prefix}.data-00000-of-00001", f"{prefix}.index", f"{prefix}.meta"]


@pytest.mark.parametrize("links", [True, False])
def test_the_latest_has_a_second_name_while_it_is_replaced(tmp_path: Any, monkeypatch: Any, links: bool):
    if not links:
        monkeypatch.setattr(guarding.os, "link", _no_links)
    saved = _Saved(tmp_path)
    for step in (1, np.int64(2)):
        saved.save(step)
        assert "kept" not in str(saved.saver.latest)
    before = saved.names()
    assert before == ["checkpoint", *_names_of("model.ckpt-1"), *_names_of("model.ckpt-2")]
    # A step may also be a variable.
    saved.session.run(saved.step.assign(2))
    assert saved.save(saved.step) == saved.path("model.ckpt-2")
    assert saved.saver.latest == saved.path("kept-model.ckpt-2")
    assert saved.saver.value == [2.0, 2.0]
    assert saved.saver.listed == [saved.path("model.ckpt-1")]
    assert saved.saver.files == sorted([*before, *_names_of("kept-model.ckpt-2")])
    # Afterwards all is as it would be without.
    assert saved.names() == before
    assert tf.train.latest_checkpoint(saved.folder) == saved.path("model.ckpt-2")
    assert read_all(saved.folder)["value"].tolist() == [3.0, 3.0]
    saved.session.close()


def _no_links(*_: Any) -> None:
    raise OSError("no links here")


def test_a_killed_replacement_is_cleared_by_the_next(tmp_path: Any):
    first = _Saved(tmp_path)
    first.save(1)
    first.saver.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        first.save(1)
    with open(first.path("model.ckpt-1.index"), "w"):
        pass
    assert tf.train.latest_checkpoint(str(tmp_path)) == first.path("kept-model.ckpt-1")
    # The directory can be moved in this state.
    os.rename(str(tmp_path), f"{tmp_path}-moved")
    second = _Saved(f"{tmp_path}-moved")
    assert tf.train.latest_checkpoint(second.folder) == second.path("kept-model.ckpt-1")
    second.save(1)
    assert second.saver.value == [1.0, 1.0]
    assert second.names() == ["checkpoint", *_names_of("model.ckpt-1")]
    first.session.close()
    second.session.close()


def test_other_checkpoints_are_written_as_ever(tmp_path: Any):
    saved = _Saved(tmp_path, pad_step_number=True)
    saved.save(1)
    saved.save(2)
    # Not the latest: nothing is lost if it is.
    saved.save(1)
    assert saved.saver.latest == saved.path("model.ckpt-00000002")
    # One that no state file names is the caller's own affair.
    saved.save(1, write_state=False)
    assert saved.saver.latest == saved.path("model.ckpt-00000001")
    saved.save(1)
    assert saved.saver.latest == saved.path("kept-model.ckpt-00000001")
    saved.save(None)
    saved.save(None)
    assert saved.saver.latest == saved.path("kept-model.ckpt")
    saved.session.close()


@pytest.mark.parametrize(
    "error, why",
    [
        (tf.errors.ResourceExhaustedError(None, None, "a.data; No space left\n\t [[node save]]"), "No space left"),
        (tf.errors.OutOfRangeError(None, None, "a.data; File too large"), "File too large"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_cannot_be_written_is_one_line(tmp_path: Any, error: Exception, why: str):
    saved = _Saved(tmp_path)
    saved.saver.error = error
    message = rf"/model\.ckpt-1: cannot be written: {why}; free some space"
    with pytest.raises(DestinationError, match=message) as found:
        saved.save(1)
    assert len(str(found.value).splitlines()) == 1
    saved.session.close()


def test_other_errors_stay_as_they_are(tmp_path: Any):
    saved = _Saved(tmp_path)
    saved.saver.error = tf.errors.InvalidArgumentError(None, None, "mine")
    with pytest.raises(tf.errors.InvalidArgumentError, match="mine"):
        saved.save(1)
    saved.session.close()
