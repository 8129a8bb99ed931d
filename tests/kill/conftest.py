"""The trainee's process, and what its models come to when nobody disturbs them. Made once, and only if asked for."""

from typing import Any, Callable, Dict, Iterator

import pytest

from fixtures.estimators import read_all
from tests.kill.harness import Trainee
from tests.kill.trainee import Request


@pytest.fixture(scope="session")
def trainee() -> Iterator[Trainee]:
    """The process that trains."""
    process = Trainee()
    yield process
    process.close()


@pytest.fixture(scope="session")
def uninterrupted(trainee: Trainee, tmp_path_factory: Any) -> Callable[[str], Dict[str, Any]]:
    """Returns the final checkpoint of a model's uninterrupted run."""
    found: Dict[str, Dict[str, Any]] = {}

    def run(model: str) -> Dict[str, Any]:
        if model not in found:
            folder = str(tmp_path_factory.mktemp("uninterrupted") / model)
            assert trainee.run(Request(folder, model)).status == 0
            found[model] = read_all(folder)
        return found[model]

    return run
