"""Specs validate themselves, and their messages say what is allowed."""

import json
from dataclasses import FrozenInstanceError

import pytest

from graph_masker.errors import GraphMaskerError, SpecError
from graph_masker.spec import PruningSpec

GOOD = {"target_sparsity": 0.8, "begin_step": 10, "end_step": 100}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"target_sparsity": 1.0}, "target_sparsity: expected a fraction of zeros with 0 <= s < 1, found 1"),
        ({"target_sparsity": -0.1}, "target_sparsity: expected a fraction of zeros with 0 <= s < 1, found -0.1"),
        ({"target_sparsity": float("nan")}, "target_sparsity: .* found nan"),
        ({"target_sparsity": "0.8"}, "target_sparsity: expected a number, found '0.8'"),
        ({"target_sparsity": True}, "target_sparsity: expected a number, found True"),
        ({"initial_sparsity": 2}, "initial_sparsity: expected a fraction of zeros with 0 <= s < 1, found 2"),
        ({"begin_step": -1}, "begin_step: expected at least 0, found -1"),
        ({"begin_step": 1.5}, "begin_step: expected a whole number of steps, found 1.5"),
        ({"end_step": 10}, "expected begin_step < end_step, found 10 and 10; raise end_step or lower begin_step"),
        ({"frequency": 0}, "frequency: expected at least 1, found 0"),
        ({"exponent": 0}, "exponent: expected a number above 0, found 0"),
        ({"exponent": float("inf")}, "exponent: expected a number above 0, found inf"),
        ({"include": ["("]}, r"include: '\(' is not a regular expression: "),
        ({"exclude": [3]}, r"exclude: expected text or a list of texts, found \[3\]"),
        ({"also": {"depthwise": True}}, "also: expected text or a list of texts"),
    ],
)
def test_a_bad_value_is_refused(change, message):
    with pytest.raises(SpecError, match=message) as caught:
        PruningSpec(**{**GOOD, **change})
    assert "\n" not in str(caught.value)


def test_errors_are_ours_and_value_errors():
    assert issubclass(SpecError, GraphMaskerError)
    assert issubclass(SpecError, ValueError)


def test_a_single_pattern_is_a_list_of_one():
    assert PruningSpec(**GOOD, include="conv").include == ("conv",)


def test_specs_are_frozen():
    with pytest.raises(FrozenInstanceError):
        PruningSpec(**GOOD).frequency = 3


def test_dictionary_round_trip():
    spec = PruningSpec(**GOOD, frequency=7, initial_sparsity=0.1, exponent=1, include=["a"], exclude=["b", "c"])
    assert PruningSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_unknown_and_missing_keys_are_named():
    with pytest.raises(SpecError, match="unknown key sparsity: allowed are target_sparsity, begin_step"):
        PruningSpec.from_dict({**GOOD, "sparsity": 0.5})
    with pytest.raises(SpecError, match="missing end_step: a spec needs target_sparsity, begin_step, end_step"):
        PruningSpec.from_dict({"target_sparsity": 0.5, "begin_step": 1})


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
