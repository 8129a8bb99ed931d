"""Command lines that cannot be followed: one line that says what, what was expected and where to read more; code 2."""

import pytest

from graph_masker.cli import commands, main


def _lines_and_code(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["graph-masker", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    found = capsys.readouterr()
    assert found.out == ""
    return found.err.splitlines(), ended.value.code


@pytest.mark.parametrize("command", sorted(commands.commands))
def test_every_command_tells_in_one_line_what_it_lacks(command, monkeypatch, capsys):
    for arguments, fault in ([], "missing argument '"), (["--nowhere"], "no such option: --nowhere"):
        (line,), code = _lines_and_code([command, *arguments], monkeypatch, capsys)
        assert code == 2
        assert line.startswith(f"graph-masker: {fault}"), line
        assert f"; expected `graph-masker {command} [OPTIONS] " in line
        assert line.endswith(f"; see `graph-masker {command} --help`")


CASES = {
    "too many": (
        ["fold", "a", "b", "c"],
        "got unexpected extra argument (c); expected `graph-masker fold [OPTIONS] SRC D",
    ),
    "no value": (
        ["prune", "a", "b", "--spec"],
        "option '--spec' requires an argument; see `graph-masker prune --help`",
    ),
    "no number": (["plot", "x", "--until", "z"], "invalid value for '--until': 'z' is not a valid integer; expected `"),
    "no command": (["fald"], "no such command 'fald'; expected `graph-masker [OPTIONS] COMMAND"),
    "nothing to compare with": (["verify", "a", "--pruned"], "--pruned: says how SRC compares with"),
    "an output of nothing": (["verify", "a", "--output", "x:0"], "--output: says how the graph is run"),
    "an input of nothing": (["verify", "a", "--input", "x:0=y.npy"], "--input: says how the graph is run"),
    "an end of a line": (["fald\nx"], r"no such command 'fald\nx'; expected"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_followed_is_one_line(case, monkeypatch, capsys):
    arguments, says = CASES[case]
    (line,), code = _lines_and_code(arguments, monkeypatch, capsys)
    assert code == 2
    assert line.startswith(f"graph-masker: {says}"), line
