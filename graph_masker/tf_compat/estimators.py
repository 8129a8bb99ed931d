"""Estimators and other objects of TensorFlow's whose behaviour is changed one by one."""

import copy
import functools
import types
from typing import Any, Callable, Optional

from tensorflow_estimator.python.estimator import estimator as estimator_lib


def replace_method(instance: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replaces one bound method of one object by `make(original)`; its class stays untouched."""
    original = getattr(instance, name)
    replacement = make(original)
    setattr(instance, name, types.MethodType(lambda _, *args, **kwargs: replacement(*args, **kwargs), instance))


def wrap_estimators(wrap: Callable[[Callable[..., Any]], Callable[..., Any]], made: Callable[[str], None]) -> None:
    """From now on every Estimator of this process, of whatever subclass, gets `wrap(model_fn)` for its model_fn.

    `made` is called with the directory of each.
    """
    original = estimator_lib.Estimator.__init__

    @functools.wraps(original)
    def init(self: Any, model_fn: Any, *args: Any, **kwargs: Any) -> None:
        original(self, wrap(model_fn), *args, **kwargs)
        made(str(self.model_dir))

    estimator_lib.Estimator.__init__ = init


def estimator_with(estimator: Any, model_fn: Callable[..., Any]) -> Any:
    """Returns a copy of an Estimator with another model_fn: same class, configuration, directory, parameters."""
    result = copy.copy(estimator)
    result._model_fn = model_fn
    return result


def estimator_model_fn(estimator: Any) -> Optional[Callable[..., Any]]:
    """Returns the model_fn that an Estimator was given; None of anything else."""
    model_fn: Optional[Callable[..., Any]] = getattr(estimator, "_model_fn", None)
    return model_fn
