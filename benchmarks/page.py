"""The page of results: one section per group, each replaced on its own."""

from pathlib import Path

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
