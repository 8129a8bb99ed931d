"""Every command line of `graph-masker` in the pages names a subcommand and options that exist."""

import re
import shlex

import pytest

from graph_masker.cli import commands as group
from tests.docs.pages import EXAMPLES, PAGES, README, blocks

MENTION = re.compile(r"graph-masker ([a-z]+)((?: [^\n`]*)?)")


def _unknown(text):
    """Returns what a text says of subcommands and options that do not exist."""
    unknown = []
    joined = re.sub(r" *\\\n *", " ", text)
    fenced = "\n".join(block.text for block in blocks(text) if block.language in ("", "console", "text"))
    quoted = "\n".join(re.findall(r"`(graph-masker [^`]+)`", joined))
    for name, rest in MENTION.findall(re.sub(r" *\\\n *", " ", fenced) + "\n" + quoted):
        if name not in group.commands:
            unknown.append(name)
            continue
        known = {option for parameter in group.commands[name].params for option in parameter.opts} | {"--help", "-h"}
        # What follows a lone -- is another program's.
        for word in shlex.split(rest, comments=True):
            if word == "--":
                break
            if word.startswith("-") and word.partition("=")[0] not in known:
                unknown.append(word)
    return unknown


@pytest.mark.parametrize("page", [README, EXAMPLES, *PAGES], ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    assert _unknown(page.read_text()) == []


def test_what_does_not_exist_is_noticed():
    text = (
        "`graph-masker fold A B --force`, `graph-masker melt`\n"
        "```\ngraph-masker run --sparsity=0.5 \\\n    --bogus 1 -- x.py --other\n```\n"
        "```console\n$ graph-masker plot spec.yaml --until 5 --to x\n```\n"
    )
    assert _unknown(text) == ["--bogus", "--to", "--force", "melt"]
