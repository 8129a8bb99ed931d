"""The page of results: one section per group, each replaced on its own."""

import json
from pathlib import Path
from typing import Any, Callable, Mapping

from benchmarks.options import Options

HEAD = """# Benchmarks

`make bench` measures what is below, on whatever machine it runs, and rewrites the section of each group it ran.
"""


def replace_section(text: str, group: str, body: str) -> str:
    """Returns the page with a group's section replaced, or added at the end."""
    start, end = f"<!-- {group} -->\n", f"<!-- end of {group} -->\n"
    section = f"{start}\n{body.strip()}\n\n{end}"
    if start in text and end in text:
        before, _, rest = text.partition(start)
        return before + section + rest.partition(end)[2]
    return f"{text.rstrip()}\n\n{section}"


def write_section(page: Path, group: str, body: str) -> None:
    """Replaces a group's section in the file, which is made where there is none."""
    page.parent.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8") if page.exists() else HEAD
    page.write_text(replace_section(text, group, body), encoding="utf-8")


def publish(options: Options, group: str, values: Mapping[str, Any], section: str, draw: Callable[[Path], Any]) -> None:
    """Writes a group's figures as JSON, its picture, and its section of the page.

    Args:
        options: say where.
        group: name of files and section.
        values: the figures.
        section: Markdown.
        draw: draws the picture into a file.
    """
    images = options.docs / "images"
    for folder in (options.out, images):
        folder.mkdir(parents=True, exist_ok=True)
    (options.out / f"{group}.json").write_text(json.dumps(values, indent=2) + "\n")
    draw(images / f"{group}.png")
    write_section(options.docs / "benchmarks.md", group, section)
