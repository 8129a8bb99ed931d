"""`graph-masker report`, and what `inspect` writes, as a user runs them."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, report_model
from tests.audit.models import Trained, tampered, train

SPEC = PruningSpec(0.8, 1, 9, frequency=3)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _run(*arguments: Any, cwd: Any = None) -> Any:
    command = [sys.executable, "-W", "ignore", "-c", "from graph_masker.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [*command, *(str(argument) for argument in arguments)],
        capture_output=True,
        env=environment,
        cwd=str(cwd) if cwd else None,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Trained:
    return train(tmp_path_factory.mktemp("trained"), SPEC, 6)


@pytest.fixture
def broken(tmp_path: Any) -> Trained:
    """One whose mask was lost."""
    made = train(tmp_path, SPEC, 6)
    tampered(made, lambda values: values.update({"conv/mask": np.ones_like(values["conv/mask"])}))
    return made


def test_report_prints_tables_and_writes_a_page(trained: Trained, tmp_path: Any) -> None:
    page = tmp_path / "report.html"
    result = _run("report", os.path.dirname(trained.prefix), "--html", page)
    assert (result.returncode, result.stderr) == (0, b"")
    found = report_model(trained.prefix)
    text = result.stdout.decode()
    for layer in found.layers:
        assert re.search(rf"{layer.variable} .*{layer.entries:,} .*{layer.sparsity:.4f}", text)
    assert f"sparsity {found.sparsity:.6f} of 3 layers, 3 of them with a mask, step 6" in text
    assert "no faults found" in text
    assert text.endswith(f"wrote {page}\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    again = _run("report", trained.prefix, "--html", page)
    assert again.returncode == 2
    assert again.stderr.decode() == f"graph-masker: {page}: exists already; give --overwrite or another name\n"
    assert _run("report", trained.prefix, "--html", page, "--overwrite").returncode == 0


def test_report_as_json_is_the_report(trained: Trained) -> None:
    result = _run("report", "--json", trained.prefix)
    assert json.loads(result.stdout) == json.loads(report_model(trained.prefix).to_json())


def test_faults_end_with_0_unless_strict(broken: Trained) -> None:
    lenient, strict = _run("report", broken.prefix), _run("report", broken.prefix, "--strict")
    assert (lenient.returncode, lenient.stderr) == (0, b"")
    assert b"FAULT: off target: conv/kernel: " in lenient.stdout
    assert strict.returncode == 2
    assert strict.stdout == lenient.stdout
    message = strict.stderr.decode()
    assert message.startswith(f"graph-masker: {broken.prefix}: 1 fault found, the first: off target: 'conv/kernel': ")
    assert message.count("\n") == 1


def test_strict_is_content_without_faults(trained: Trained) -> None:
    assert _run("report", trained.prefix, "--strict").returncode == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--html", "page.txt"], "page.txt: expected a name that ends in .html or .htm, for what graph-masker report"),
        (["--html", "missing.html/../folder.html"], "folder.html: expected a file to write to, found a directory"),
        (["--input-size", "224"], "--input-size: expected height and width, such as 224x224, found '224'"),
        (["--target-sparsity", "2", "--begin-step", "0", "--end-step", "9"], "target_sparsity: expected"),
        (["--tags", "serve"], "expected a SavedModel, of which tags choose a graph; found none"),
    ],
)
def test_report_says_what_is_wrong(arguments: Any, message: str, trained: Trained, tmp_path: Any) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "missing.html").mkdir()
    result = _run("report", trained.prefix, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert message in result.stderr.decode()
    assert sorted(os.listdir(str(tmp_path))) == ["folder.html", "missing.html"]


def test_inspect_prints_a_sheet(trained: Trained) -> None:
    result = _run("inspect", trained.prefix, "--csv")
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert text.count("\r\n") == text.count("\n")
    rows = {row["variable"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert rows["conv/kernel"]["zeros"] == str(int(np.sum(trained.values["conv/mask"] == 0)))
    assert rows["conv/bias"]["reason"] == "a bias or scale: it has fewer than two axes"


@pytest.mark.parametrize("ending", ["svg", "dot", "graphml"])
def test_inspect_draws(ending: str, trained: Trained, tmp_path: Any) -> None:
    path = tmp_path / f"sites.{ending}"
    result = _run("inspect", trained.prefix, "--graph", path, "--site", "conv/")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().endswith(f"wrote {path}\n")
    content = path.read_text()
    assert "conv/kernel/masked_weight" in content
    assert "parts/kernel" not in content
    if ending == "graphml":
        assert "conv/Conv2D" in nx.read_graphml(str(path))
    assert _run("inspect", trained.prefix, "--graph", path).returncode == 2
    assert path.read_text() == content
    assert _run("inspect", trained.prefix, "--graph", path, "--overwrite").returncode == 0
    assert "parts/kernel" in path.read_text()


def test_inspect_with_a_spec_lists_what_it_would_mask(trained: Trained, tmp_path: Any) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        tf.layers.dense(tf.layers.dense(tf.placeholder(tf.float32, [1, 8]), 16, name="one"), 4, name="two")
        session.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(session, str(tmp_path / "dense"))
    options = ["--sparsity", "0.75", "--begin-step", "0", "--end-step", "9", "--exclude", "two", "--structure", "2:4"]
    result = _run("inspect", prefix, *options[:-2])
    assert (result.returncode, result.stderr) == (0, b"")
    assert re.search(r"one/kernel .*0\.75", result.stdout.decode())
    assert "excluded by 'two'" in result.stdout.decode()
    refused = _run("inspect", prefix, *options)
    assert refused.returncode == 2
    rows = list(
        csv.DictReader(io.StringIO(_run("inspect", prefix, "--csv", *options[:-2]).stdout.decode(), newline=""))
    )
    targets = [(row["variable"], row["target_sparsity"]) for row in rows if row["kind"] == "site"]
    assert targets == [("one/kernel", "0.75")]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--json", "--csv"], "--json, --csv: expected one of them, found both"),
        (["--site", "conv"], "--site: chooses what --graph draws"),
        (["--graph", "sites.png"], "sites.png: expected a name that ends in .dot or .svg or .graphml"),
        (["--graph", "sites.svg", "--site", "("], "--site: expected a regular expression"),
        (["--graph", "sites.svg", "--site", "zzz"], "--site: 'zzz' matches none of the"),
    ],
)
def test_inspect_says_what_is_wrong(arguments: Any, message: str, trained: Trained, tmp_path: Any) -> None:
    result = _run("inspect", trained.prefix, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert message in result.stderr.decode()
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("command", [["--help"], ["report", "--help"], ["inspect", "--help"]])
def test_help_needs_no_tensorflow(command: Any) -> None:
    code = f"""
import sys
from graph_masker.cli import main
sys.argv[1:] = {command!r}
try:
    main()
finally:
    slow = {{"tensorflow", "numpy", "networkx", "rich", "zstandard"}} & set(sys.modules)
    sys.exit(f"imported: {{slow}}" if slow else 0)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"Usage: graph-masker" in result.stdout


def test_inspect_shows_the_names_of_a_strangers_file_as_they_are(tmp_path: Any) -> None:
    name = "[bold]w[/bold]\x1b[31m:car"
    definition = tf.GraphDef()
    with tf.Graph().as_default() as graph:
        tf.matmul(tf.placeholder(tf.float32, [1, 3], name="x"), tf.ones([3, 3], name="w"), name="y")
        definition.CopyFrom(graph.as_graph_def())
    name = name.replace(":", "")
    for node in definition.node:
        node.name = name if node.name == "w" else node.name
        node.input[:] = [name if text == "w" else text for text in node.input]
    (tmp_path / "stranger.pb").write_bytes(definition.SerializeToString())
    result = _run("inspect", tmp_path / "stranger.pb")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"[bold]w[/bold]\\x1b[31mcar" in result.stdout
    assert b"\x1b" not in result.stdout
