"""Runs programs and commands for a test, each in a fork of one process that has imported TensorFlow already.

Reads a JSON object per line: `argv`, of which the first is `python` or `graph-masker`, and `cwd`. Writes one with the
exit code and what was printed, standard output and standard error in one, as on a terminal.
"""

import atexit
import json
import os
import runpy
import signal
import sys
import tempfile
import traceback
from typing import Any, Dict, List

import tensorflow.compat.v1 as tf

import graph_masker
from graph_masker import cli

_PATIENCE = 120  # seconds


def main() -> None:
    for name in graph_masker.__all__:
        getattr(graph_masker, name)
    # Its warnings of what is deprecated would stand between the lines that a page shows.
    tf.logging.set_verbosity(tf.logging.ERROR)
    for line in sys.stdin:
        print(json.dumps(_run(**json.loads(line))), flush=True)


def _run(argv: List[str], cwd: str) -> Dict[str, Any]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _become(argv, cwd, output.fileno())
        _, status = os.waitpid(child, 0)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return {"code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), "output": text}


def _become(argv: List[str], cwd: str, output: int) -> None:
    signal.alarm(_PATIENCE)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 1
    try:
        os.chdir(cwd)
        _start(argv)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _start(argv: List[str]) -> None:
    program, arguments = argv[0], argv[1:]
    if program == "graph-masker":
        sys.argv = argv
        cli.main()
    elif program == "python" and arguments[0] == "-c":
        sys.argv, sys.path[0] = ["-c"], ""
        exec(compile(arguments[1], "<page>", "exec"), {"__name__": "__main__"})
    elif program == "python" and arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif program == "python":
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        raise ValueError(f"expected python or graph-masker, found {program}")


if __name__ == "__main__":
    main()
