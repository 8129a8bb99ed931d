"""Budgets as data, what was measured against them, and the table of both."""

from typing import Any, Dict, NamedTuple, Sequence

from rich.table import Table
from rich.text import Text


class Budget(NamedTuple):
    """A limit from above.

    Attributes:
        key: under which a group reports the measured value.
        title: what is limited, in words.
        limit: highest value that meets it.
        form: format of measured value and limit, such as ``{:.1%}``.
    """

    key: str
    title: str
    limit: float
    form: str


class Outcome(NamedTuple):
    """A measured value beside its budget; `subject` names what was measured, such as a model."""

    budget: Budget
    subject: str
    measured: float

    @property
    def met(self) -> bool:
        """True where the measured value is within the budget."""
        return self.measured <= self.budget.limit

    @property
    def cells(self) -> Sequence[str]:
        """What a table shows of it: title, subject, measured, budget, verdict."""
        form = self.budget.form
        shown = [
            self.budget.title,
            self.subject,
            form.format(self.measured),
            "at most " + form.format(self.budget.limit),
        ]
        return [*shown, "met" if self.met else "missed"]

    def as_dict(self) -> Dict[str, Any]:
        """Returns plain values for JSON."""
        values = {"key": self.budget.key, "subject": self.subject, "measured": self.measured}
        return {**values, "limit": self.budget.limit, "met": self.met}


HEADINGS = ("budget", "for", "measured", "limit", "verdict")


def outcomes_table(title: str, outcomes: Sequence[Outcome]) -> Table:
    """Returns one row per outcome, missed ones in red."""
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("measured", "limit") else "left")
    for outcome in outcomes:
        *cells, verdict = outcome.cells
        table.add_row(*cells, Text(verdict, style="green" if outcome.met else "red"))
    return table


def outcomes_markdown(outcomes: Sequence[Outcome]) -> str:
    """Returns the same rows as a Markdown table, missed ones in bold."""
    rows = [[*outcome.cells[:4], "met" if outcome.met else "**missed**"] for outcome in outcomes]
    return markdown_table(HEADINGS, rows, numbers=(2, 3))


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Returns a Markdown table.

    Args:
        headings: one per column.
        rows: cells as text.
        numbers: indices of the columns to align to the right.
    """
    rule = ["--:" if index in numbers else "---" for index in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows)) + "\n"
