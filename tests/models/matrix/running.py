"""Runs models, each in a process of its own: they need gigabytes, and come from packages that share their names."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli.running import PYTHON, ROOT
from tests.models.matrix import result
from tests.models.matrix.models import Model
from tests.models.matrix.nets import SECOND

RESULTS = Path(ROOT, "build", "matrix")
# Where the Makefile installs the package that has the same top-level names as another one, and says that it is there.
SECOND_API = Path(sys.prefix, "second-api")
READY = SECOND_API / "ready"


class ModelError(AssertionError):
    """A model's run has failed; the message ends with what its process said."""


def run_model(model: Model, results: Path, brief: bool = False, lines: int = 25) -> result.Result:
    """Takes a model through the whole road in a new process; its result is in `results`, too.

    Args:
        model: which.
        results: a folder, which is made where there is none.
        brief: whether it trains but once, and nothing is measured.
        lines: of an error that are shown, at most.

    Raises:
        ModelError: a check failed, or the model does not build.
        FileNotFoundError: its package is not there.
    """
    paths = [ROOT]
    if model.package == SECOND:
        if not READY.exists():
            raise FileNotFoundError(f"{model.title} needs {SECOND}; `make .venv/second-api/ready` installs it")
        paths.insert(0, str(SECOND_API))
    written = results / f"{model.name}.json"
    if written.exists():  # of another run: it must not stand for this one if this one fails
        written.unlink()
    folder = Path(tempfile.mkdtemp(prefix=f"{model.name}."))
    command = [*PYTHON, "-m", "tests.models.matrix.child", model.name, str(folder / "run"), str(written)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        run = subprocess.run(
            [*command, "--brief"] if brief else command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
            check=False,
        )
    finally:
        shutil.rmtree(str(folder))
    if run.returncode:
        shown = "\n".join(run.stderr.splitlines()[-lines:])
        raise ModelError(f"{model.name}: exit code {run.returncode}\n{shown}")
    return result.read(written)
