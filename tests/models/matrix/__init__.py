"""Real models, one by one, through the whole road: mask, train, evaluate, resume, fold, export, compare.

`models.py` is the table; `python -m tests.models.matrix` runs it and writes docs/models.md.
"""
