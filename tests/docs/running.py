"""Asks the server to run things, and a page's programs in their order."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import List, Tuple

from tests.docs.pages import ROOT, blocks, commands, matches

_UPDATES = re.compile(r"^graph_masker: step \d+ sparsity requested .*\n", re.MULTILINE)


class Server:
    """A process that runs programs, one after the other; close it in the end."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("COLUMNS", None)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.docs.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            env=environment,
            cwd=str(ROOT),
        )

    def run(self, argv: List[str], cwd: Path) -> Tuple[int, str]:
        """Runs `python` or `graph-masker` with arguments; returns the exit code and what was printed.

        Lines of mask updates, which every program that trains writes to standard error, are left out.
        """
        self._process.stdin.write(json.dumps({"argv": argv, "cwd": str(cwd)}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], _UPDATES.sub("", answer["output"])

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def run_page(server: Server, text: str, folder: Path) -> List[str]:
    """Runs what a page shows, in a folder, and returns what is not as it shows it."""
    wrong = []
    fences = blocks(text)
    for block, after in zip(fences, [*fences[1:], None]):
        if block.name is not None:
            (folder / block.name).write_text(block.text)
        elif block.is_run:
            shown = after.text if after is not None and after.language == "text" else ""
            wrong += _differences(server, ["python", "-c", block.text], shown, folder, f"line {block.line}")
        elif block.language == "python":
            compile(block.text, "<page>", "exec")
        elif block.language == "console":
            for command, shown in commands(block.text):
                wrong += _differences(server, shlex.split(command), shown, folder, f"line {block.line}: {command}")
    return wrong


def _differences(server: Server, argv: List[str], shown: str, folder: Path, where: str) -> List[str]:
    code, output = server.run(argv, folder)
    # What a page shows as an error ends as one.
    if code != (2 if shown.startswith("graph-masker: ") else 0):
        return [f"{where}: exit code {code}\n{output}"]
    if shown.strip() and not matches(shown, output):
        return [f"{where}: expected\n{shown}\nfound\n{output}"]
    return []
