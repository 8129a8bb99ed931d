"""Tells of mask updates that are missing, while a graph trains: nothing that masking() cannot do is silent.

Two things are seen only when a session runs: that a train op was made after masking was left, and that the op which
runs the update is never run, because its parts are run by themselves.
"""

import zlib
from typing import Any, Dict, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import UsageError
from graph_masker.masker import Masker
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.schedule import latest_update
from graph_masker.steps import OWN_STEP
from graph_masker.trainers import Hook, hooks_of

# A look costs a run that fetches three variables: at runs 1, 2, 4, 8, ... and at every one of these.
_EVERY = 100
# One look may fall together with a restored checkpoint.
_ENOUGH = 2


class _Look(NamedTuple):
    """What a session holds: the step, the step of the last update, and a checksum of a masked weight."""

    step: int
    last: int
    weight: int


class Missing:
    """Warns, once, of a graph whose masks are not updated."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._hooks: Dict[Any, Hook] = {}
        self._known = self._runs = self._times = 0
        self._latest: Optional[_Look] = None
        self._is_done = self._is_looking = False

    def expect(self, hook: Hook) -> None:
        """Takes note of an update that is to run with the op of a hook."""
        self._hooks[hook.op] = hook

    def before_run(self, session: Any) -> None:
        """Called before each run of a session of the graph."""
        if self._is_done or self._is_looking or not self._masker.masks:
            return
        newest = tf_compat.newest_number(self._masker.graph)
        if newest != self._known:
            self._known = newest
            self._look_at_graph()
        # An op that counts is run by whoever makes a step.
        if self._is_done or all(hook.is_count for hook in self._hooks.values()):
            return
        self._runs += 1
        if (self._runs & (self._runs - 1) == 0 or self._runs % _EVERY == 0) and tf_compat.is_local(session):
            self._look_at(session)

    def _look_at_graph(self) -> None:
        weights = [item.weight for item in self._masker.masked_variables]
        try:
            hooks = hooks_of(self._masker.graph, weights, self._masker.gradient_ops)
        except UsageError as error:
            self._warn(str(error))
            return
        late = [hook.op for hook in hooks if hook.op not in self._hooks]
        if late:
            self._warn(
                f"'{late[0].name}' trains masked weights and updates no masks: it was made after masking was left, or "
                "with gradients that TensorFlow did not build there; make it inside graph_masker.masking()"
            )

    def _look_at(self, session: Any) -> None:
        now, before = self._read(session), self._latest
        self._latest = now
        if now is None or before is None:
            self._times = 0
            return
        hook = next(hook for hook in self._hooks.values() if not hook.is_count)
        if hook.step is None:
            # The update counts the steps itself, so that nothing but weights shows that some were made.
            is_missing = now.step == before.step and now.weight != before.weight
        else:
            due = latest_update(self._masker.spec, before.step)
            is_missing = now.step > before.step and due is not None and before.last < due
        self._times = self._times + 1 if is_missing else 0
        if self._times == _ENOUGH:
            self._warn(
                f"the graph trains, and its masks are not updated: the update runs with '{hook.op.name}', and nothing "
                "runs that; run it in place of the ops that it groups, or do not build it"
            )

    def _read(self, session: Any) -> Optional[_Look]:
        graph = self._masker.graph
        hook = next(hook for hook in self._hooks.values() if not hook.is_count)
        step = hook.step if hook.step is not None else tf_compat.variable_named(graph, OWN_STEP)
        smallest = min(self._masker.masked_variables, key=lambda item: item.site.entries)
        variables = [step, tf_compat.variable_named(graph, LAST_UPDATE_STEP), smallest.weight]
        self._is_looking = True
        try:
            found, last, weight = session.run([tf_compat.read_of(variable) for variable in variables])
        except tf.errors.FailedPreconditionError:
            # Not initialized yet.
            return None
        finally:
            self._is_looking = False
        return _Look(int(found), int(last), zlib.crc32(weight.tobytes()))

    def _warn(self, text: str) -> None:
        tf.logging.warning("graph_masker: %s", text)
        self._is_done = True
