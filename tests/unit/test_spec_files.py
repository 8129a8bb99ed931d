"""Spec files: YAML as people mean it, JSON, and errors that name the file."""

import json

import pytest

from graph_masker.errors import SpecError
from graph_masker.spec import NM, PruningSpec
from graph_masker.spec.reading import parse_option, parse_yaml

GOOD = {"target_sparsity": 0.8, "begin_step": 10, "end_step": 100}


@pytest.mark.parametrize("name", ["spec.yaml", "spec.json"])
def test_files(tmp_path, name):
    path = tmp_path / name
    path.write_text(json.dumps({**GOOD, "exclude": ["logits"]}))
    assert PruningSpec.from_file(path) == PruningSpec(**GOOD, exclude=["logits"])


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("bad.yaml", b"target_sparsity: [", "expected one YAML or JSON mapping"),
        ("bad.json", b"{", "expected one YAML or JSON mapping"),
        ("list.yaml", b"- 1", "expected one mapping of spec keys, found list"),
        ("empty.yaml", b"", "expected one mapping of spec keys, found NoneType"),
        ("bytes.yaml", b"\xff\xfe\x00", "cannot be read as a spec|expected one YAML"),
        ("key.yaml", b"target: 0.5", "unknown key target"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message) as caught:
        PruningSpec.from_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml: cannot be read as a spec: No such file"):
        PruningSpec.from_file(tmp_path / "none.yaml")


def test_yaml_says_what_it_seems_to_say(tmp_path):
    """Under YAML 1.1 the structure is 124, the exponent a text and the frequency 8."""
    path = tmp_path / "spec.yaml"
    path.write_text("structure: 2:4\nbegin_step: 0\nend_step: 100\nexponent: 30e-1\nfrequency: 010\n")
    spec = PruningSpec.from_file(path)
    assert (spec.structure, spec.exponent, spec.frequency) == (NM(2, 4), 3.0, 10)


@pytest.mark.parametrize(
    "text, value",
    [
        ("1:30", "1:30"),
        ("1e-3", 0.001),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("0100", 100),
        ("+7", 7),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
        (".inf", float("inf")),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("'2'", "2"),
        ("[1, a, {b: 2:4}]", [1, "a", {"b": "2:4"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = parse_yaml(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("name", ["spec.yaml", "spec.json"])
def test_a_key_that_is_there_twice_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"target_sparsity": 0.5, "begin_step": 0, "end_step": 9, "rules": [{"match": "a", "match": "b"}]}')
    with pytest.raises(SpecError, match="key 'match' is there twice") as caught:
        PruningSpec.from_file(path)
    assert str(caught.value).startswith(f"{path}: expected one YAML or JSON mapping")
    assert "\n" not in str(caught.value)


def test_anchors_and_merge_keys_are_yaml(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "target_sparsity: 0.8\nbegin_step: 0\nend_step: 9\n"
        "rules: [&one {match: a, sparsity: 0.5}, {<<: *one, match: b}]\n"
    )
    first, second = PruningSpec.from_file(path).rules
    assert (first.match, first.sparsity, second.match, second.sparsity) == ("a", 0.5, "b", 0.5)


@pytest.mark.parametrize(
    "content",
    [
        "rules: &loop [*loop]",
        "? [a, b]\n: 1",
        "!!python/object/apply:os.getcwd []",
        "a: " + "[" * 2000,
        "- 1\n- [",
        "\0",
        "a: 1\n" * 2,
    ],
    ids=range(7),
)
def test_what_no_spec_looks_like_is_one_clear_line(tmp_path, content):
    path = tmp_path / "spec.yaml"
    path.write_text(content)
    with pytest.raises(SpecError) as caught:
        PruningSpec.from_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_options_are_read_like_files():
    assert parse_option("--structure", "block: [4, 1]") == {"block": [4, 1]}
    assert parse_option("--structure", "2:4") == "2:4"
    with pytest.raises(SpecError, match="--structure: expected text such as 2:4"):
        parse_option("--structure", "[")
