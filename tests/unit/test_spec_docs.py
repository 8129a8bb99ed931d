"""docs/spec.md: its examples are valid, and its table says what the code does."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from graph_masker.spec import ALLOCATIONS, CRITERIA, CURVES, PruningSpec, Rule, json_schema
from graph_masker.spec.hparams import DEFAULTS

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "spec.md").read_text()
SPEC_ROWS, RULE_ROWS = (
    {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \|(.*?)\|(.*?)\| *(.*?) *\|$", part, re.MULTILINE)}
    for part in TEXT.split("| key of a rule |")
)
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(3))
def test_examples_are_specs(tmp_path, number):
    assert len(EXAMPLES) == 3
    (tmp_path / "spec.yaml").write_text(EXAMPLES[number])
    spec = PruningSpec.from_file(tmp_path / "spec.yaml")
    assert PruningSpec.from_dict(spec.to_dict()) == spec


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pruning.yaml").write_text(EXAMPLES[0])
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(code, {})


def test_every_key_has_its_row_with_its_default():
    properties = json_schema()["properties"]
    for field in fields(PruningSpec):
        default = SPEC_ROWS[field.name][2]
        if "default" in properties[field.name]:
            assert default == f"`{json.dumps(properties[field.name]['default'])}`", field.name
        else:
            assert "needed" in default, field.name
    assert list(SPEC_ROWS) == [field.name for field in fields(PruningSpec)]
    assert list(RULE_ROWS) == [field.name for field in fields(Rule)]


def test_every_choice_is_named():
    for name, choices in (("schedule", CURVES), ("allocation", ALLOCATIONS), ("criterion", CRITERIA)):
        for choice in choices:
            assert f"`{choice}`" in SPEC_ROWS[name][1], choice


def test_every_name_of_contribs_is_there():
    section = TEXT[TEXT.index("## Coming from") :].replace("`_end_step`, `_exponent`", "")
    for name in DEFAULTS:
        short = {"sparsity_function_end_step": "sparsity_end_step", "sparsity_function_exponent": "exponent"}
        assert f"`{short.get(name, name)}`" in section, name


def test_links_lead_somewhere():
    for path in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / path).exists(), path
