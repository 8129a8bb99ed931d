"""A cluster of real processes on this machine, each of which the test can kill and start again."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Seconds that anything may take; the machine may be busy.
PATIENCE = 240

# Type and index, as in TF_CONFIG.
Task = Tuple[str, int]


class Cluster:
    """The processes of one cluster, ended and waited for when the context is left.

    Attributes:
        folder: where the processes write what they have to say.
        tasks: all of them.
    """

    def __init__(
        self, folder: Any, command: Sequence[str], counts: Dict[str, int], variable: str = "TF_CONFIG"
    ) -> None:
        """Describes a cluster and starts nothing.

        Args:
            folder: see above.
            command: what to run, after `python`.
            counts: how many processes of each type, an evaluator among them.
            variable: of the environment, that tells each process of the cluster.
        """
        self.folder = str(folder)
        self.tasks = [(kind, index) for kind, count in counts.items() for index in range(count)]
        self._command = list(command)
        self._variable = variable
        # The evaluator is not of the cluster: nobody talks to it.
        members = [kind for kind in counts if kind != "evaluator"]
        ports = iter(_free_ports(sum(counts[kind] for kind in members)))
        self._addresses = {kind: [f"127.0.0.1:{next(ports)}" for _ in range(counts[kind])] for kind in members}
        self._running: Dict[Task, Any] = {}
        os.makedirs(self.folder, exist_ok=True)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()

    def start(self, *tasks: Task) -> None:
        """Starts processes; all of them, if none is named."""
        for task in tasks or self.tasks:
            assert task not in self._running or self._running[task].returncode is not None, task
            kind, index = task
            config = {"cluster": self._addresses, "task": {"type": kind, "index": index}}
            environment = {
                **os.environ,
                self._variable: json.dumps(config),
                "PYTHONPATH": ROOT,
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "PYTHONWARNINGS": "ignore",
            }
            with open(self._path(task, "out"), "a") as out, open(self._path(task, "err"), "a") as err:
                self._running[task] = subprocess.Popen(
                    [sys.executable, *self._command], env=environment, cwd=ROOT, stdout=out, stderr=err
                )

    def kill(self, task: Task) -> None:
        """Kills a process that runs, by SIGKILL."""
        assert self._running[task].poll() is None, self.errors(task)
        self._running[task].kill()
        assert self._running[task].wait(PATIENCE) == -signal.SIGKILL

    def wait(self, *tasks: Task) -> None:
        """Waits until processes end by themselves, well; all that do so, if none is named.

        Parameter servers go on until they are killed.
        """
        for task in tasks or [task for task in self.tasks if task[0] != "ps"]:
            self._until(lambda task=task: self._running[task].poll() is not None, f"{task} to end")
            assert self._running[task].returncode == 0, f"{task}:\n{self.errors(task)}"

    def wait_for_step(self, task: Task, step: int, lines: int = 0) -> None:
        """Waits until a process has told of a step, beyond the lines that it has written before."""
        self._until(
            lambda: any(line.get("step", -1) >= step for line in self.said(task)[lines:]), f"step {step} of {task}"
        )

    def said(self, task: Task) -> List[Dict[str, Any]]:
        """Returns what a process has written, each time that it was started."""
        with open(self._path(task, "out")) as stream:
            return [json.loads(line) for line in stream if line.endswith("\n")]

    def steps(self, task: Task, lines: int = 0) -> List[Dict[str, Any]]:
        """Returns what a process has written of its steps, beyond some lines."""
        return [line for line in self.said(task)[lines:] if "step" in line]

    def first(self, task: Task, key: str) -> Any:
        """Returns what a process has first said under a key."""
        return next(line[key] for line in self.said(task) if key in line)

    def traffic(self, task: Task) -> Tuple[Dict[str, int], Dict[str, int]]:
        """Returns the bytes that a process was sent, and that it sent, in one step, by name of the tensor.

        Of what was traced that is the least that it was sent, as in a step of the chief's without an update, and the
        most that it sent: others do not always tell all that they received.
        """
        lines = [line for line in self.said(task) if "received" in line]
        received = min((line["received"] for line in lines), key=lambda found: sum(found.values()))
        return received, max((line["sent"] for line in lines), key=lambda found: sum(found.values()))

    def errors(self, task: Task) -> str:
        """Returns the end of what a process has complained of."""
        with open(self._path(task, "err")) as stream:
            return stream.read()[-3000:]

    def _path(self, task: Task, ending: str) -> str:
        return os.path.join(self.folder, f"{task[0]}-{task[1]}.{ending}")

    def _until(self, condition: Any, what: str) -> None:
        end = time.time() + PATIENCE
        while not condition():
            for task, process in self._running.items():
                dead = process.poll() not in (None, 0, -signal.SIGKILL)
                assert not dead, f"waited for {what}; {task} ended with {process.returncode}:\n{self.errors(task)}"
            if time.time() > end:
                complaints = "\n".join(f"{task}: {self.errors(task)[-500:]}" for task in self._running)
                raise AssertionError(f"waited in vain for {what}:\n{complaints}")
            time.sleep(0.05)


def torn(chief: Sequence[Dict[str, Any]], others: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Returns lines of a worker whose masks are not those that the chief told of for the same update.

    The chief reads masks when nobody writes them. A worker may read while the chief writes: its next line then tells of
    a later update. Such lines are left out.
    """
    known: Dict[Any, Set[str]] = {}
    for line in chief:
        known.setdefault(tuple(line["last"]), set()).add(line["masks"])
    assert all(len(found) == 1 for found in known.values()), "masks changed and no update was noted"
    following: List[Optional[Dict[str, Any]]] = [*others[1:], None]
    return [
        line
        for line, later in zip(others, following)
        if tuple(line["last"]) in known
        and line["masks"] not in known[tuple(line["last"])]
        and (later is None or later["last"] == line["last"])
    ]


def _free_ports(count: int) -> List[int]:
    """Returns ports that nobody listens on, below those from which outgoing connections take theirs."""
    found: List[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
