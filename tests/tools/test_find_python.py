"""tools/find-python37 finds a Python 3.7 that runs, or says how to get one."""

import os
import stat
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "tools" / "find-python37"


def _run(tmp_path, **environment):
    """Runs the script where nothing but a shell is on the path, unless `environment` says otherwise."""
    base = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "PYENV_ROOT": ""}
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)], env={**base, **environment}, capture_output=True, text=True, check=False
    )


def _program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_an_explicit_python_is_taken(tmp_path):
    result = _run(tmp_path, PYTHON=sys.executable)
    assert result.returncode == 0
    assert os.path.samefile(result.stdout.strip(), sys.executable)


def test_a_shim_that_does_not_run_is_passed_over_for_pyenvs_versions(tmp_path):
    _program(tmp_path / "bin" / "python3.7", "exit 127")
    _program(tmp_path / ".pyenv" / "versions" / "3.7.99" / "bin" / "python3.7", f'exec "{sys.executable}" "$@"')
    result = _run(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert os.path.samefile(result.stdout.strip(), sys.executable)


def test_without_any_it_prints_the_command_that_gets_one(tmp_path):
    for program, command in [("uv", "uv python install 3.7"), ("pyenv", "pyenv install 3.7"), ("", "pip install uv")]:
        for path in (tmp_path / "bin").glob("*"):
            path.unlink()
        if program:
            _program(tmp_path / "bin" / program, "exit 1")
        result = _run(tmp_path)
        assert result.returncode == 1
        assert result.stdout == ""
        assert "No Python 3.7 found" in result.stderr
        assert command in result.stderr
