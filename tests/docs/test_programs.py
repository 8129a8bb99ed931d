"""What the pages of docs/ and examples/ show runs as it stands, and prints what they show."""

import pytest

from fixtures.estimators import read_all
from graph_masker.schedule import kept_entries
from tests.docs.pages import EXAMPLES, PAGES, README, ROOT, blocks, commands, matches
from tests.docs.running import Server, run_page

# Its example is in the middle of a chapter, and the spec file it reads comes later.
_BY_ITSELF = {"spec.md": "tests/unit/test_spec_docs.py"}


@pytest.fixture(scope="module")
def server():
    """Where programs are run."""
    process = Server()
    yield process
    process.close()


@pytest.mark.parametrize("page", [*PAGES, EXAMPLES], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs(server, page, tmp_path):
    if page.name in _BY_ITSELF:
        assert f'"{page.name}"' in (ROOT / _BY_ITSELF[page.name]).read_text()
        return
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "build").mkdir()
    wrong = run_page(server, page.read_text(), tmp_path)
    assert not wrong, "\n".join(wrong)


def test_every_example_is_run():
    run = {command for block in blocks(EXAMPLES.read_text()) for command, _ in commands(block.text)}
    for program in (ROOT / "examples").glob("*.py"):
        assert any(f"examples/{program.name}" in command for command in run), program


PAGE = """
```python
# three.py
number = 3
```

```python
from three import number
print(number)
```

```text
{shown}
```

```console
$ graph-masker plot \\
    {file}
{error}
```

```python
# not run: {reason}
import nothing_of_this_name
```
"""
ERROR = "graph-masker: none.yaml: cannot be read as a spec: ..."


def _wrong(server, folder, shown="3", file="none.yaml", error=ERROR, reason="it names no module"):
    return run_page(server, PAGE.format(shown=shown, file=file, error=error, reason=reason), folder)


def test_a_page_that_is_true(server, tmp_path):
    assert _wrong(server, tmp_path) == []


@pytest.mark.parametrize(
    "change", [{"shown": "4"}, {"file": "three.py"}, {"error": ""}, {"error": ERROR[:-3]}, {"reason": ""}]
)
def test_a_page_that_is_not_true(server, tmp_path, change):
    assert len(_wrong(server, tmp_path, **change)) == 1


@pytest.mark.parametrize(
    "expected, found, same",
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a  \nb\n\n", True),
        ("a ... c", "a b c", True),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd", True),
        ("a\n...", "a", True),
        ("a.c", "abc", False),
        ("a", "a\nb", False),
        ("a\n...\nd", "a\nb\nc", False),
        ("a ... c", "a\nc", False),
    ],
)
def test_output_is_compared(expected, found, same):
    assert matches(expected, found) == same


def _readmes(number):
    programs = [block.text for block in blocks(README.read_text()) if block.is_run]
    assert len(programs) == 3
    return programs[number]


def test_the_readmes_estimator_is_pruned_and_folded(server, tmp_path):
    code, output = server.run(["python", "-c", _readmes(0)], tmp_path)
    assert code == 0, output
    folded = read_all(str(tmp_path / "build" / "example-folded"))
    kernels = {name: value for name, value in folded.items() if name.endswith("/kernel")}
    assert len(kernels) == 2
    for name, value in kernels.items():
        assert int((value != 0).sum()) == kept_entries(value.size, 0.9), name
    assert not [name for name in folded if name.endswith("/mask")]


@pytest.mark.parametrize(
    ("number", "indent", "sizes"), [(1, 8, [64 * 10]), (2, 4, [64 * 300, 300 * 10])], ids=["session", "built already"]
)
def test_the_readmes_other_models_are_pruned(server, tmp_path, number, indent, sizes):
    lines = ("for mask in masker.masks.values():", "    print(int(session.run(mask).sum()))")
    shown = "".join(f"{' ' * indent}{line}\n" for line in lines)
    code, output = server.run(["python", "-c", _readmes(number) + shown], tmp_path)
    assert code == 0, output
    assert [int(line) for line in output.split()] == [kept_entries(size, 0.9) for size in sizes]
