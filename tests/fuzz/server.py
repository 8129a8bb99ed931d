"""Runs command lines for a test, each in a fork of one process that has imported TensorFlow already.

Reads one JSON list of arguments per line; writes one JSON object per command: how it ended, what it printed, how long
it took and how much memory it needed.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
from typing import Any, Dict, List

from graph_masker import cli

PATIENCE = 20.0
# A run-away allocation ends as an error of the child before it harms the machine.
_ADDRESS_SPACE = 24 * 2**30


def main() -> None:
    for module in (
        "inspection",
        "verification",
        "folding",
        "stripping",
        "pruning",
        "rewriting",
        "audit",
        "drawing",
        "report",
    ):
        __import__(f"graph_masker.{module}")
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


def _run(arguments: List[str]) -> Dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(arguments, out.fileno(), err.fileno())
        killed = False
        while True:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if ended:
                break
            if not killed and time.monotonic() - begin > PATIENCE:
                os.kill(child, signal.SIGKILL)
                killed = True
            time.sleep(0.002)
        seconds = time.monotonic() - begin
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return {
        "code": code,
        "stdout": texts[0],
        "stderr": texts[1],
        "seconds": seconds,
        "bytes": usage.ru_maxrss * 1024,
    }


def _become(arguments: List[str], out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = ["graph-masker", *arguments]
    code = 1
    try:
        cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
