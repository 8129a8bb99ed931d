"""Under `graph-masker run` a program is what it is under plain python: compared with that, case by case."""

import os
import signal
import subprocess
import sys
import textwrap
import zipfile

import pytest

from tests.cli.running import GRAPH_MASKER, PYTHON, environment, run
from tests.helpers.turns import representatives

RUN = ["run", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "9", "--"]


def launch(*arguments, **options):
    """Starts graph-masker as a user does."""
    return run(*RUN, *arguments, program=GRAPH_MASKER, **options)


# So that there is something to mask, and a program that succeeds ends with its own exit code.
TRAINS = """
import tensorflow.compat.v1 as tf

tf.logging.set_verbosity(tf.logging.ERROR)
with tf.Graph().as_default():
    tf.train.AdamOptimizer().minimize(tf.reduce_sum(tf.layers.dense(tf.ones([1, 4]), 4)))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
"""

MAIN = """
    # -*- coding: latin-1 -*-
    '''Its docstring.'''
    import os, pickle, sys

    class Mine:
        x: int = 1

    y: int = 2
    print(__name__, __doc__, __file__, __package__, __spec__, __cached__, type(__loader__).__name__, __annotations__)
    print(type(__builtins__).__name__, sorted(name for name in globals() if name.startswith("__")))
    print(sys.argv, sys.path[0], os.getcwd(), sys.modules["__main__"].__dict__ is globals())
    print(type(pickle.loads(pickle.dumps(Mine()))) is Mine, Mine.__module__, Mine.__qualname__)
    print(open("data.txt").read(), len("\xe4"))
    import beside
    print(beside.__name__, beside.__file__)
    sys.exit(3)
"""

LATER = """
    import atexit, pickle, sys, threading, time

    class Mine:
        pass

    def pickles(where):
        print(where, type(pickle.loads(pickle.dumps(Mine()))) is Mine, sys.modules["__main__"].__name__, flush=True)

    def later():
        time.sleep(0.5)
        pickles("thread")

    atexit.register(pickles, "exit handler")
    threading.Thread(target=later).start()
    print("end")
"""

CHILDREN = """
    import multiprocessing, os, sys

    def square(number):
        return number * number, __name__

    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                print(pool.map(square, range(3)), flush=True)
        for ends in (lambda: None, lambda: sys.exit(0), lambda: sys.exit(4), lambda: 1 / 0):
            child = os.fork()
            if child == 0:
                ends()
                sys.exit()
            print(os.waitpid(child, 0)[1], flush=True)
        sys.stdout.buffer.write(bytes(range(256)))
        sys.exit(ENDING)
"""

APP = """
    import tensorflow as tf

    tf.compat.v1.app.flags.DEFINE_integer("number", 1, "A number.")

    def main(argv):
        print(argv, tf.compat.v1.app.flags.FLAGS.number)
        return 6

    if __name__ == "__main__":
        tf.compat.v1.app.run()
"""

HOOK = """
    import sys
    sys.excepthook = lambda kind, error, trace: print("mine", kind, error)
    raise KeyError("k")
"""

SCRIPTS = {
    "main": MAIN,
    "later": TRAINS + textwrap.dedent(LATER),
    "children": CHILDREN.replace("ENDING", "5"),
    "app": APP,
    "hook": HOOK,
}
for number, ending in enumerate(
    [
        "sys.exit()",
        "sys.exit(0)",
        "sys.exit(7)",
        "sys.exit('text')",
        "sys.exit(0.0)",
        "sys.exit(True)",
        "sys.exit((1, 2))",
        "os._exit(5)",
        "raise ValueError('mine')",
        "raise KeyboardInterrupt",
        "import click; raise click.exceptions.Abort",
        "import click; raise click.UsageError('mine')",
        "os.kill(os.getpid(), signal.SIGTERM)",
    ]
):
    SCRIPTS[f"end{number}"] = f"{TRAINS}import os, signal, sys\nprint('out', flush=True)\n{ending}\n"
SCRIPTS["syntax"] = "print('out')\nno python\n"


def _text_of(script):
    return textwrap.dedent(script).lstrip("\n")


# Ends by way of a number, of a text, of errors, of click's own, which the command line has for itself, of a signal.
QUICK = [*(name for name in SCRIPTS if not name.startswith("end")), "end2", "end3", "end8", "end11", "end12"]


@pytest.mark.parametrize("name", representatives(sorted(SCRIPTS), QUICK))
def test_a_script(tmp_path, name):
    folder, elsewhere = tmp_path / "scripts", tmp_path / "data"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "own.py").write_bytes(_text_of(SCRIPTS[name]).encode("latin-1"))
    (folder / "beside.py").write_text("")
    (elsewhere / "data.txt").write_text("data")
    (elsewhere / "link.py").symlink_to(folder / "own.py")
    for path in ("../scripts/own.py", folder / "own.py", "link.py") if name == "main" else (folder / "own.py",):
        arguments = [path, "a", "--number=5", "-m", "--", "--help"][: 3 if name == "app" else None]
        plain = run(*arguments, cwd=elsewhere, program=PYTHON, text=False)
        launched = launch(*arguments, cwd=elsewhere, text=False)
        assert (launched.returncode, launched.stdout) == (plain.returncode, plain.stdout), launched.stderr.decode()
        if plain.returncode and b"Traceback" in plain.stderr:
            assert plain.stderr.splitlines()[-1] in launched.stderr.splitlines()
        elif name.startswith("end"):
            assert launched.stderr.endswith(plain.stderr)
        assert plain.stdout or name == "syntax"


def test_a_forked_child_says_nothing(tmp_path):
    (tmp_path / "own.py").write_text(_text_of(CHILDREN.replace("ENDING", "0")))
    result = launch(tmp_path / "own.py", text=False)
    assert result.stderr.count(b"nothing was masked") == 1
    assert result.returncode == 2


MODULE = """
    import pickle, sys

    class Mine:
        pass

    print(__name__, __file__, __package__, __spec__.name, type(__loader__).__name__, sys.argv, sys.path[0])
    print(type(pickle.loads(pickle.dumps(Mine()))) is Mine)
    from . import part
    sys.exit(5)
"""


@pytest.mark.parametrize("module", ["package", "package.program", "package.part", "package.absent", "alone"])
def test_a_module(tmp_path, module):
    (tmp_path / "package").mkdir()
    for name, text in (
        ("package/__init__", "print('package')"),
        ("package/__main__", MODULE),
        ("package/program", MODULE),
        ("package/part", "import sys; print('part', __name__); sys.exit(len(sys.argv))"),
        ("alone", "print(__package__ == '', __name__); raise SystemExit(9)"),
    ):
        (tmp_path / f"{name}.py").write_text(_text_of(text))
    plain = run("-m", module, "a", "-x", cwd=tmp_path, program=PYTHON)
    launched = launch("-m", module, "a", "-x", cwd=tmp_path)
    assert launched.stdout == plain.stdout
    assert launched.returncode == (2 if module == "package.absent" else plain.returncode), launched.stderr
    assert plain.returncode


def test_an_archive(tmp_path):
    with zipfile.ZipFile(str(tmp_path / "own.zip"), "w") as archive:
        archive.writestr(
            "__main__.py", "import sys, inside\nprint(__name__, __file__, sys.argv, sys.path[0])\nsys.exit(8)"
        )
        archive.writestr("inside.py", "print(__file__)")
    plain, launched = run("own.zip", "a", cwd=tmp_path, program=PYTHON), launch("own.zip", "a", cwd=tmp_path)
    assert (launched.returncode, launched.stdout) == (plain.returncode, plain.stdout) != (0, "")


WAITING = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize(
    "number",
    representatives([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], [signal.SIGINT, signal.SIGTERM]),
)
def test_a_signal(tmp_path, number):
    (tmp_path / "own.py").write_text(TRAINS + WAITING)
    found = []
    for command in (PYTHON, [*GRAPH_MASKER, *RUN]):
        process = subprocess.Popen(
            [*command, str(tmp_path / "own.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            restore_signals=True,
            # As in a terminal, whatever the tests' own parent ignores.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        )
        ready = process.stdout.readline()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
        found.append((process.returncode, ready, rest, errors.splitlines()[-1:]))
    plain, launched = found
    assert launched[:3] == plain[:3]
    assert plain[1] == "ready\n" and plain[0] != 0
    if number == signal.SIGINT:
        assert plain[2:] == launched[2:] == ("cleaned up\n", ["KeyboardInterrupt"])


def test_started_by_its_own_script(tmp_path):
    """The console script: what holds it, such as the environment's bin folder, is not on the program's path."""
    script = os.path.join(os.path.dirname(sys.executable), "graph-masker")
    (tmp_path / "own.py").write_text("import sys\nprint(sys.path, sys.argv)\nsys.exit(1)\n")
    launched = run(*RUN, tmp_path / "own.py", program=[sys.executable, "-W", "ignore", script])
    plain = run(tmp_path / "own.py", program=PYTHON)
    assert (launched.returncode, launched.stdout) == (plain.returncode, plain.stdout)
