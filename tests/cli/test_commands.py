"""The command line as a user runs it: in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.cli.running import GRAPH_MASKER, run

SCRIPT = """
    import sys
    import tensorflow.compat.v1 as tf
    from fixtures.estimators import batches, plain_model_fn, run_config

    assert __name__ == "__main__"
    tf.logging.set_verbosity(tf.logging.ERROR)
    estimator = tf.estimator.Estimator(plain_model_fn, sys.argv[1], run_config())
    estimator.train(batches(), steps=int(sys.argv[2]))
    print("own output", sys.argv[1:])
    sys.exit(int(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `graph-masker run` on an unmodified script leaves behind, and its result."""
    folder = tmp_path_factory.mktemp("run")
    script = folder / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    options = ["--target-sparsity", "0.75", "--begin-step", "2", "--end-step", "8", "--frequency", "3"]
    result = run("run", *options, "--", script, folder / "model", "8", "5")
    return folder, result


def test_run_masks_a_script_and_leaves_its_streams_and_exit_code(trained):
    folder, result = trained
    assert result.returncode == 5
    assert result.stdout == f"own output ['{folder}/model', '8', '5']\n"
    assert "2 sites, 264 entries" in result.stderr
    assert "a bias or scale" in result.stderr
    with open(str(folder / "model" / "graph_masker_plan.json")) as stream:
        plan = json.load(stream)
    assert [site["variable"] for site in plan["sites"]] == ["conv/kernel", "dense/kernel"]
    assert plan["spec"]["target_sparsity"] == 0.75


def test_inspect_shows_sites_skips_and_sparsity(trained):
    folder, _ = trained
    for source in ("model", "model/model.ckpt-8.meta"):
        result = run("inspect", folder / source)
        assert (result.returncode, result.stderr) == (0, "")
        assert "conv/kernel" in result.stdout
        assert "0.7500" in result.stdout
        assert "a bias or scale" in result.stdout
    plan = json.loads(run("inspect", "--json", folder / "model").stdout)
    assert [(site["variable"], site["op_types"], site["shape"], site["zeros"]) for site in plan["sites"]] == [
        ("conv/kernel", ["Conv2D"], [3, 3, 2, 4], 54),
        ("dense/kernel", ["MatMul"], [64, 3], 144),
    ]
    assert [site["consumers"] for site in plan["sites"]] == [["conv/Conv2D"], ["dense/MatMul"]]
    assert {skip["variable"] for skip in plan["skips"]} == {"conv/bias", "dense/bias"}


def test_fold_writes_a_directory(trained, tmp_path):
    folder, _ = trained
    # By a process of its own: what TensorFlow says when it is imported is kept away, too.
    result = run("fold", folder / "model", tmp_path / "folded", program=GRAPH_MASKER)
    assert (result.returncode, result.stderr) == (0, "")
    assert "2 weights and 0 moving averages folded" in result.stdout
    again = run("fold", folder / "model", tmp_path / "folded")
    assert again.returncode == 2
    assert (
        again.stderr
        == f"graph-masker: {tmp_path}/folded: exists already; name a new destination, or replace it with --overwrite\n"
    )
    assert sorted(os.listdir(str(tmp_path))) == ["folded"]


def test_rewrite_makes_a_dense_checkpoint_one_that_prunes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    dense = tmp_path / "dense"
    subprocess.run([sys.executable, "-W", "ignore", script, dense, "4", "0"], env=environment, check=True)
    options = ["--target-sparsity", "0.75", "--begin-step", "5", "--end-step", "8"]
    result = run("rewrite", dense, tmp_path / "masked", *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert "2 sites, 264 entries" in result.stdout
    assert "a bias or scale" in result.stdout
    assert result.stdout.splitlines()[-1] == (
        f"wrote {tmp_path}/masked/model.ckpt-4: 2 masks, updated in training, before 'Momentum'; 5 tensors added"
    )
    assert "0 of 264 entries masked out" in run("verify", tmp_path / "masked").stdout
    again = run("rewrite", tmp_path / "masked", tmp_path / "twice", *options)
    assert (again.returncode, again.stdout) == (2, "")
    assert len(again.stderr.splitlines()) == 1
    assert "it is masked already" in again.stderr
    os.remove(str(dense / "model.ckpt-4.meta"))
    os.remove(str(dense / "model.ckpt-0.meta"))
    lost = run("rewrite", dense, tmp_path / "twice", *options)
    assert (lost.returncode, len(lost.stderr.splitlines())) == (2, 1)
    assert "(--meta FILE)" in lost.stderr
    assert sorted(os.listdir(str(tmp_path))) == ["dense", "masked", "train.py"]


def test_run_takes_a_module_and_a_spec_file(tmp_path):
    (tmp_path / "training_program.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "spec.yaml").write_text("target_sparsity: 0.5\nbegin_step: 0\nend_step: 4\ninclude: [conv]\n")
    for number, arguments in enumerate((["--", "-m"], ["-m"])):
        model = tmp_path / f"model{number}"
        result = run("run", "--spec", "spec.yaml", *arguments, "training_program", model, "4", "0", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "1 sites" in result.stderr
        plan = json.loads((model / "graph_masker_plan.json").read_text())
        assert [site["variable"] for site in plan["sites"]] == ["conv/kernel"]
        assert {"variable": "dense/kernel", "op": "dense/MatMul", "reason": "no include pattern matches it"} in (
            plan["skips"]
        )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["run", "--target-sparsity", "1.5", "--begin-step", "0", "--end-step", "9", "x.py"],
            "target_sparsity: expected",
        ),
        (["run", "--target-sparsity", "0.5", "--begin-step", "9", "--end-step", "9", "x.py"], "begin_step < end_step"),
        (["run", "--target-sparsity", "0.5", "x.py"], "missing begin_step, end_step"),
        (
            ["run", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "9", "x.py"],
            "x.py: expected a Python script",
        ),
        (["run", "--spec", "absent.yaml", "x.py"], "absent.yaml: cannot be read as a spec"),
        (["run", "--spec", "s.yaml", "--frequency", "3", "x.py"], "--frequency: cannot be given together with --spec"),
        (["run", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "3000000000", "x.py"], "at most 2147483647"),
        (
            ["run", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "9", "-m", "no.such"],
            "no.such: expected a Python",
        ),
        (["run", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "9", "--", "-m"], "-m: expected the name"),
        (["inspect", sys.executable], "found a file that is none of these"),
        (["inspect", "nothing"], "nothing: expected a checkpoint's prefix"),
        (["fold", "nothing", "out"], "nothing: expected a checkpoint's prefix"),
        (["rewrite", "nothing", "out", "--sparsity", "0.5"], "missing begin_step, end_step"),
        (
            ["rewrite", "nothing", "out", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "9"],
            "nothing: expected a checkpoint's prefix",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr
    assert os.listdir(str(tmp_path)) == []


def test_errors_inside_the_script_are_one_line_too(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT))
    options = ["--target-sparsity", "0.5", "--begin-step", "0", "--end-step", "9", "--include", "no_such"]
    result = run("run", *options, "--", "train.py", tmp_path / "model", "4", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("graph-masker: include: 'no_such' matches none of the 2 weights")
    assert "Traceback" not in result.stderr


def test_damaged_and_unclear_state_files(trained, tmp_path):
    folder, _ = trained
    for name in ("tr\u00e4 in", "in[1]"):
        shutil.copytree(str(folder / "model"), str(tmp_path / name))
    good = run("inspect", tmp_path / "tr\u00e4 in")
    assert (good.returncode, good.stderr) == (0, "")
    brackets = run("inspect", tmp_path / "in[1]")
    assert brackets.returncode == 2
    assert "expected a path without * ? [" in brackets.stderr
    state = tmp_path / "tr\u00e4 in" / "checkpoint"
    for content, message in [
        (b"\xff\xfe\x00garbage", "checkpoint: expected a state file, found other data"),
        (b'model_checkpoint_path: "gone"', "a `checkpoint` file that names one which is not there"),
    ]:
        state.write_bytes(content)
        result = run("inspect", state.parent)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert message in result.stderr


@pytest.mark.parametrize(
    "statement, code, text",
    [
        ("raise EOFError('mine')", 1, "EOFError: mine"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("import click; raise click.ClickException('mine')", 1, "click.exceptions.ClickException: mine"),
        ("import sys; sys.exit('mine')", 1, "mine"),
    ],
)
def test_what_a_program_raises_is_its_own(tmp_path, statement, code, text):
    (tmp_path / "own.py").write_text(statement + "\n")
    result = run("run", "--sparsity", "0.5", "--begin-step", "0", "--end-step", "9", "--", "own.py", cwd=tmp_path)
    assert text in result.stderr
    assert ("Traceback" in result.stderr) == ("sys.exit" not in statement)
    # Python itself ends with SIGINT's code where a program lets KeyboardInterrupt through.
    assert result.returncode == code or "KeyboardInterrupt" in statement


def test_each_model_directory_gets_its_plan(tmp_path):
    script = textwrap.dedent(SCRIPT).replace("estimator = ", "for part in 'ab':\n    estimator = ")
    script = script.replace("sys.argv[1], run_config", "sys.argv[1] + part, run_config").replace(
        "estimator.train(", "    estimator.train("
    )
    (tmp_path / "two.py").write_text(script)
    options = ["--sparsity", "0.5", "--begin-step", "0", "--end-step", "9"]
    result = run("run", *options, "--", "two.py", tmp_path / "model", "1", "0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "modela" / "graph_masker_plan.json").exists()
    assert (tmp_path / "modelb" / "graph_masker_plan.json").exists()
    assert result.stderr.count("2 sites") == 1


def test_damaged_meta_file(tmp_path):
    for content in (b"", b"no protocol buffer", b"\\x0a\\xff\\xff"):
        (tmp_path / "model.meta").write_bytes(content)
        result = run("inspect", tmp_path / "model.meta")
        assert result.returncode == 2
        assert f"{tmp_path}/model.meta: expected a MetaGraph" in result.stderr


def test_help_imports_no_tensorflow():
    code = "import sys, graph_masker.cli; graph_masker.cli.commands.main(['--help'], standalone_mode=False);"
    result = subprocess.run(
        [sys.executable, "-c", code + "import graph_masker; print('tensorflow' in sys.modules)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert result.stdout.strip().endswith("False")
