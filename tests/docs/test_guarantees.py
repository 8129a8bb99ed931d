"""docs/guarantees.md: every test that it names exists, and every guarantee has tests and controls."""

import re

import pytest

from tests.docs.pages import ROOT

TEXT = (ROOT / "docs" / "guarantees.md").read_text()


def _missing(text):
    """Returns the files and tests named in a text that do not exist; a test belongs to the last file before it."""
    missing, content = [], ""
    for name in re.findall(r"`([^`\s]+)`", text):
        if name.startswith("tests/"):
            path = ROOT / name
            content = path.read_text() if path.is_file() else ""
            missing += [] if content else [name]
        elif name.startswith("test_") and f"def {name}(" not in content:
            missing.append(name)
    return missing


def test_every_test_exists():
    assert len(re.findall(r"`test_\w+`", TEXT)) > 60
    assert _missing(TEXT) == []


def test_a_test_that_does_not_exist_is_noticed():
    line = "`tests/docs/test_guarantees.py` (`{}`), `{}`"
    assert _missing(line.format("test_every_test_exists", "tests/docs/pages.py")) == []
    assert _missing(line.format("test_nothing_of_" + "this_name", "tests/docs/none.py")) == [
        "test_nothing_of_" + "this_name",
        "tests/docs/none.py",
    ]


@pytest.mark.parametrize("number", range(1, 13))
def test_every_guarantee_has_tests_and_controls(number):
    (section,) = re.findall(rf"^## G{number}: (.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    _, tested, controls = re.split(r"^- (?:Tested|Controls): ", section, flags=re.MULTILINE)
    assert "`tests/" in tested
    assert "`tests/" in controls
