"""What the pages of docs/ show runs as it stands, and prints what they show; examples run and end as they should."""

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, matches
from tests.docs.running import Server, run_page


@pytest.fixture(scope="module")
def server():
    """Where programs are run."""
    process = Server()
    yield process
    process.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs(server, page, tmp_path):
    wrong = run_page(server, page.read_text(), tmp_path)
    assert not wrong, "\n".join(wrong)
