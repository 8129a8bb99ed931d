"""Links between the pages lead somewhere: to a file that is there, and to a heading of it."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DECISIONS, EXAMPLES, PAGES, README, ROOT, without_blocks

CHANGELOG = ROOT / "CHANGELOG.md"
SCENES = ROOT / "examples" / "digit_scenes" / "README.md"
ALL = [README, CHANGELOG, EXAMPLES, SCENES, *PAGES, *DECISIONS]


def _anchors(text):
    """Returns the anchors of a page's headings, as GitHub makes them."""
    anchors = []
    for heading in re.findall(r"^#+ +(.*?) *$", without_blocks(text), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        repeated = sum(known == anchor or re.fullmatch(rf"{anchor}-\d+", known) is not None for known in anchors)
        anchors.append(f"{anchor}-{repeated}" if repeated else anchor)
    return anchors


def _broken(page, text):
    """Returns the links of a page that lead nowhere. Those to other sites are not followed."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        other = page if not path else page.parent / path
        if not other.exists() or (anchor and anchor not in _anchors(text if not path else other.read_text())):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert _broken(page, page.read_text()) == []


def test_broken_links_are_noticed():
    text = (
        "# Some `code`, and more: G1\n[a](none.md) [b](README.md#none) [c](#some-code-and-more-g1) [d](https://x.y#z)\n"
        "```\n[e](none.md)\n```\n[f](docs/spec.md#keys) [g](#else) ![h](docs/images/none.png)\n# Else\n# Else\n"
        "[i](#else-1) [j](#else-2)"
    )
    assert _broken(Path(README), text) == ["none.md", "README.md#none", "docs/images/none.png", "#else-2"]


def test_every_page_is_linked_from_the_map():
    index = (ROOT / "docs" / "index.md").read_text()
    for page in PAGES:
        if page.name != "index.md":
            assert f"({page.name}" in index, page.name
