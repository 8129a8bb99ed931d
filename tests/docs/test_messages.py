"""docs/troubleshooting.md and docs/faq.md: messages and reasons that they quote are in the sources, word for word."""

import ast
import re

from tests.docs.pages import ROOT

TEXT = (ROOT / "docs" / "troubleshooting.md").read_text()
# A name or number in a message.
ANY = "…"


def _text(node):
    """Returns the text of an expression, `ANY` for what is filled in; None where it is no text."""
    if isinstance(node, ast.Str):
        return re.sub(r"%[sd]", ANY, node.s)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Str) else ANY for part in node.values)
    return None


def _messages():
    """Returns every text in the sources."""
    found = set()
    for package in ("graph_masker", "rewriters"):
        for path in (ROOT / package).rglob("*.py"):
            found |= {_text(node) for node in ast.walk(ast.parse(path.read_text()))} - {None}
    return found


def _quoted(text):
    """Returns the messages of a page: what stands in the first column of its tables."""
    rows = re.findall(r"^\| (`+) ?(.+?) ?\1 \|", text, re.MULTILINE)
    return [message for _, message in rows]


def _unknown(quoted):
    messages = _messages()
    return [message for message in quoted if not any(message.rstrip(ANY) in known for known in messages)]


def test_every_message_is_one_of_the_sources():
    quoted = _quoted(TEXT)
    assert len(quoted) > 50
    assert len(set(quoted)) == len(quoted)
    assert len(quoted) == len(re.findall(r"^\| `", TEXT, re.MULTILINE))
    assert _unknown(quoted) == []


def test_every_reason_is_one_of_the_sources():
    reasons = _quoted((ROOT / "docs" / "faq.md").read_text())
    assert len(reasons) > 4
    assert _unknown(reasons) == []


def test_messages_hold_more_than_what_is_filled_in():
    for message in _quoted(TEXT):
        assert len(re.findall(r"[a-z]+", message)) >= 3, message


def test_another_message_is_noticed():
    (known,) = [message for message in _quoted(TEXT) if message.startswith(f"{ANY}: holds other")]
    assert _unknown([known, known.replace("holds", "has"), f"no such {ANY} message"]) == [
        known.replace("holds", "has"),
        f"no such {ANY} message",
    ]
