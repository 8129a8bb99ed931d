"""`python -m graph_masker.cli` is `graph-masker`."""

from graph_masker.cli import main

main()
