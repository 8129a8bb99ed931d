"""The pages of the documentation, and what stands in their fences.

| fence | what tests do with it |
|---|---|
| `python` | run it, as a program of its own; its output is compared with a `text` fence that follows |
| `python` or `yaml` that begins with `# NAME.py` | write that file, for what comes after |
| `python` that begins with `# not run: WHY` | compile it |
| `console` | run what follows each `$ ` and compare the lines below it with the output |
| all | every option of `graph-masker` exists |

In expected output, `...` stands for any text, and on a line of its own for any lines.
"""

import re
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
EXAMPLES = ROOT / "examples" / "README.md"
# Every page for users; decisions are for those who work on it, and only their links are checked.
PAGES = sorted((ROOT / "docs").glob("*.md"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\w+\.(?:py|yaml))\n")
_NOT_RUN = re.compile(r"# not run: \S")


class Block(NamedTuple):
    """What stands in a fence: its language (may be empty), its text, and the number of its first line."""

    language: str
    text: str
    line: int

    @property
    def name(self) -> Optional[str]:
        """The file that it is to be written to."""
        found = _NAMED.match(self.text)
        return found.group(1) if found else None

    @property
    def is_run(self) -> bool:
        """Whether it is a program to be run."""
        return self.language == "python" and self.name is None and not _NOT_RUN.match(self.text)


def blocks(text: str) -> List[Block]:
    """Returns the fences of a page in their order, without their indentation."""
    found = []
    for match in _FENCE.finditer(text):
        indent, language, body = match.groups()
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE), line))
    return found


def without_blocks(text: str) -> str:
    """Returns a page's prose."""
    return _FENCE.sub("", text)


def commands(text: str) -> List[Tuple[str, str]]:
    """Returns what a console fence runs, each with the output below it (empty: none is told)."""
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.replace("\\\n", "").partition("\n")
        found.append((command, output))
    return found


def matches(expected: str, found: str) -> bool:
    """Tells whether output is what a page shows of it."""
    pattern = ""
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(re.escape("..."), ".*") + r" *\n"
    return re.fullmatch(pattern, found.rstrip("\n") + "\n") is not None
