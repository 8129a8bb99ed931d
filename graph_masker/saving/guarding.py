"""Makes a training saver safe against what can happen while it writes: a kill, and a full disk.

A run that resumes first writes the checkpoint again that it has resumed from, under the same name. TensorFlow opens
the index of a sharded checkpoint by its final name, which empties it; killed there, a run would leave no checkpoint to
resume from. So the old files keep a second name, and the state file says so, until the new ones are complete.
"""

import glob
import inspect
import numbers
import os
import shutil
from typing import Any, Callable, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import DestinationError
from graph_masker.files import writing
from graph_masker.files.source import reason

# Before the last component of a prefix. The step stays at its end, where tools look for it.
_KEPT = "kept-"
_SAVE = inspect.signature(tf.train.Saver.save)


def save_safely(saver: Any) -> None:
    """Lets a saver replace a directory's latest checkpoint at no risk, and say clearly what it cannot write. In place.

    Its `save` then raises a `DestinationError` where the disk is full.
    """

    def saving(original: Callable[..., Any]) -> Callable[..., Any]:
        def save(*args: Any, **kwargs: Any) -> Any:
            given = _SAVE.bind(saver, *args, **kwargs).arguments
            step = given.get("global_step")
            if step is not None and not isinstance(step, numbers.Integral):
                step = tf.train.global_step(given["sess"], step)
            prefix = tf_compat.saver_prefix(saver, str(given["save_path"]), step)
            names_latest = given.get("write_state", True)
            try:
                if names_latest:
                    _keep_latest(prefix, given.get("latest_filename"))
                result = original(*args, **kwargs)
            except (tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError, OSError) as error:
                # An OutOfRangeError (a file larger than may be) would end training as the end of its input does.
                why = error.strerror if isinstance(error, OSError) else reason(error)
                raise DestinationError(
                    f"{prefix}: cannot be written: {why}; free some space and train again, which resumes from the "
                    "latest checkpoint that is complete"
                ) from error
            if names_latest:
                _remove_kept(prefix)
            return result

        return save

    tf_compat.replace_method(saver, "save", saving)


def _kept(prefix: str) -> str:
    folder, name = os.path.split(prefix)
    return os.path.join(folder, _KEPT + name)


def _keep_latest(prefix: str, latest_filename: Optional[str]) -> None:
    """Gives the checkpoint of this prefix a second name that the state file points to, if it is the latest."""
    folder = os.path.dirname(prefix)
    if "://" in prefix or not os.path.isfile(prefix + ".index"):
        return
    state = tf.train.get_checkpoint_state(folder, latest_filename)
    if state is None or os.path.abspath(state.model_checkpoint_path) != os.path.abspath(prefix):
        return
    _remove_kept(prefix)
    kept = _kept(prefix)
    # The index comes last: without it there is no checkpoint. It is the one file that is not replaced but overwritten.
    for path in glob.glob(glob.escape(prefix) + ".data-*"):
        _link(path, kept + path[len(prefix) :])
    if os.path.isfile(prefix + ".meta"):
        _link(prefix + ".meta", kept + ".meta")
    shutil.copyfile(prefix + ".index", kept + ".index")
    writing.sync(kept + ".index")
    others = [
        (path, time)
        for path, time in zip(state.all_model_checkpoint_paths, _times(state))
        if os.path.abspath(path) != os.path.abspath(prefix)
    ]
    del state.all_model_checkpoint_paths[:], state.all_model_checkpoint_timestamps[:]
    for path, time in others:
        state.all_model_checkpoint_paths.append(_relative(path, folder))
        state.all_model_checkpoint_timestamps.append(time)
    state.model_checkpoint_path = _relative(kept, folder)
    writing.write_text(os.path.join(folder, latest_filename or "checkpoint"), str(state))


def _times(state: Any) -> Any:
    count = len(state.all_model_checkpoint_paths)
    times = list(state.all_model_checkpoint_timestamps)
    return times if len(times) == count else [0.0] * count


def _relative(path: str, folder: str) -> str:
    """Returns a path as the state file holds it: one in the same directory by its name, so that both can be moved."""
    return os.path.basename(path) if os.path.dirname(path) == folder else path


def _link(path: str, other: str) -> None:
    try:
        os.link(path, other)
    except OSError:
        # Not every file system has links.
        shutil.copyfile(path, other)


def _remove_kept(prefix: str) -> None:
    if "://" in prefix:
        return
    # The index first, so that what is left in between is no checkpoint.
    kept = _kept(prefix)
    for path in [kept + ".index", kept + ".meta", *glob.glob(glob.escape(kept) + ".data-*")]:
        if os.path.lexists(path):
            os.unlink(path)
