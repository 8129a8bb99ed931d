"""A process that has TensorFlow imported, and forks a child for each command line: seconds less than to start anew.

    python -c "from tests.cli.warm import main; main()"

Requests come as lines of JSON (`Request`) on standard input, answers as lines on standard output: the status that
`os.waitpid` gave. A child goes on as `graph-masker` does and ends as an interpreter ends, exit handlers included.
"""

import json
import os
import subprocess
import sys
from typing import Any, Dict, List, NamedTuple, Optional


class Request(NamedTuple):
    """A command line: arguments, directory, environment, and the files that take standard output and error."""

    arguments: List[str]
    directory: str
    environment: Dict[str, str]
    output: str
    errors: str


class Server:
    """The process, seen from those who ask it."""

    def __init__(self, environment: Dict[str, str]) -> None:
        command = [sys.executable, "-W", "ignore", "-c", "from tests.cli.warm import main; main()"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )

    def run(self, request: Request) -> int:
        """Returns the exit code, or the number of the signal that has ended the child, negative."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        line = self._process.stdout.readline()
        assert line, "the process that forks has died"
        status = int(line)
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _request() -> Optional[Request]:
    """Serves; returns in each child, with what it is to do, and in the end without."""
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            return Request(*json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(status, flush=True)
    return None


def _become(request: Request) -> Any:
    for number, (path, flags) in enumerate(
        [(os.devnull, os.O_RDONLY), (request.output, os.O_WRONLY), (request.errors, os.O_WRONLY)]
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = ["graph-masker", *request.arguments]


def main() -> None:
    """Imports, and serves."""
    import tensorflow.compat.v1 as tf

    import graph_masker.launch
    from graph_masker.cli import main as command_line

    # Both are loaded when they are first asked for.
    assert tf.estimator.Estimator and tf.keras.Model and graph_masker.launch
    request = _request()
    if request is not None:
        _become(request)
        command_line()
