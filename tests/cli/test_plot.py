"""`graph-masker plot` and the spec options of `run`, as a user runs them."""

import os
import subprocess
import sys

import pytest

SPEC = "target_sparsity: 0.8\nbegin_step: 0\nend_step: 100\nstructure: {block: [4, 1]}\n"
RUN = "from graph_masker.cli import main; main()"
# Ends with the names of heavy modules that were imported on the way.
WATCHED = (
    "import sys\nfrom graph_masker.cli import main\ntry:\n    main()\nfinally:\n"
    "    print([name for name in ('tensorflow', 'matplotlib.pyplot') if name in sys.modules], file=sys.stderr)"
)


def _run(*arguments, cwd, code=RUN):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root, "MPLBACKEND": "TkAgg"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=str(cwd),
        check=False,
    )


def test_plot_draws_beside_the_spec_and_lists_the_updates(tmp_path):
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "pruning.yaml").write_text(SPEC)
    for _ in range(2):
        result = _run("plot", "specs/pruning.yaml", cwd=tmp_path, code=WATCHED)
        assert (result.returncode, result.stderr) == (0, "[]\n")
        assert result.stdout.splitlines()[0].strip() == "11 mask updates"
        assert result.stdout.splitlines()[-1] == "wrote specs/pruning.png"
        assert sorted(os.listdir(str(tmp_path / "specs"))) == ["pruning.png", "pruning.yaml"]
        assert (tmp_path / "specs" / "pruning.png").read_bytes().startswith(b"\x89PNG")
    assert os.listdir(str(tmp_path)) == ["specs"]


def test_plot_takes_a_name_and_a_last_step(tmp_path):
    (tmp_path / "pruning.json").write_text('{"target_sparsity": 0.8, "begin_step": 0, "sparsity_end_step": 100}')
    (tmp_path / "mine.png").write_text("not a picture")
    options = ("plot", "pruning.json", "--out", "mine.png", "--until", "50")
    refused = _run(*options, cwd=tmp_path)
    assert refused.returncode == 2
    assert (tmp_path / "mine.png").read_text() == "not a picture"
    assert refused.stderr == "graph-masker: mine.png: exists already; give --overwrite or another name\n"
    result = _run(*options, "--overwrite", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "6 mask updates up to step 50" in result.stdout
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["plot", "absent.yaml"], "absent.yaml: cannot be read as a spec: No such file"),
        (["plot", "bad.yaml"], "bad.yaml: unknown key target: allowed are target_sparsity"),
        (["plot", "good.yaml", "--out", "good.svg"], "good.svg: expected a name that ends in .png"),
        (["plot", "good.yaml", "--out", "good.yaml/x.png"], "good.yaml: cannot be written"),
        (["plot", "good.yaml", "--until", "-1"], "--until: expected a step from begin_step, 0,"),
        (["run", "--hparams", "sparsity=1", "x.py"], "hparams: unknown name sparsity: allowed are name,"),
        (["run", "--hparams", "", "--spec", "good.yaml", "x.py"], "--hparams: cannot be given together with --spec"),
        (
            ["run", "--hparams", "", "--sparsity", "0.5", "x.py"],
            "--target-sparsity: cannot be given together with --hparams",
        ),
        (["run", "--structure", "[", "x.py"], "--structure: expected text such as 2:4"),
        (
            ["run", "--structure", "2:4", "--sparsity", "0.7", "--begin-step", "0", "--schedule", "one_shot", "x.py"],
            "target_sparsity: expected 0.5, which is what 2:4 stands for, found 0.7",
        ),
        (
            ["run", "--structure", "block: [4, 0]", "x.py"],
            "structure: block: expected a width of at least 1, or -1 for the whole axis, found 0",
        ),
        (
            [
                "run",
                "--sparsity",
                "0.7",
                "--begin-step",
                "0",
                "--end-step",
                "9",
                "--allocation",
                "erk",
                "--max-sparsity",
            ]
            + ["0.5", "x.py"],
            "max_sparsity: expected at least target_sparsity, 0.7, found 0.5",
        ),
        (
            ["run", "--sparsity", "0.7", "--begin-step", "0", "--end-step", "9", "--criterion", "size", "x.py"],
            "criterion: expected magnitude or movement or taylor, found 'size'",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    (tmp_path / "good.yaml").write_text(SPEC)
    (tmp_path / "bad.yaml").write_text("target: 0.5")
    result = _run(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("graph-masker: ")
    assert message in result.stderr
    assert sorted(os.listdir(str(tmp_path))) == ["bad.yaml", "good.yaml"]


def test_help_names_every_option_and_imports_nothing_heavy(tmp_path):
    result = _run("run", "--help", cwd=tmp_path, code=WATCHED)
    assert (result.returncode, result.stderr) == (0, "[]\n")
    for option in ("--schedule", "--structure", "--allocation", "--criterion", "--hparams", "--max-sparsity"):
        assert option in result.stdout
