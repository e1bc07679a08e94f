"""Columns, numbers and phrases that several tables share."""

from __future__ import annotations

from autocontrastive_gen.foundation.statistics import holm
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number

MODEL, DOMAIN = Column("model", "Model"), Column("domain", "Domain")
N = Column("n", "n", numeric=True)
CELL = Column("cell", "Cell", shown=False)
"""A name per row, for ``dvc plots``."""


def p_value(value: float, file: str, cell: str) -> Number:
    """A p-value, with more decimals where it is small."""
    return Number(value, digits=4 if value < 0.1 else 2, file=file, cell=cell)


def resampled(results: Results, unit: str = "documents") -> str:
    """The beginning of a note: how the intervals of a table were made."""
    return f"{results.confidence} bootstrap intervals over {unit} ({results.plan['bootstrap']['samples']} resamples)"


def add_corrected(rows: list[dict], p: str, corrected: str, within: tuple[str, ...]) -> None:
    """Set the key ``corrected`` to the p-value under ``p`` after Holm's correction over the rows of a group.

    Args:
        within: keys whose values the rows of a group share.
    """
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if p in row:
            groups.setdefault(tuple(row[key] for key in within), []).append(row)
    for group in groups.values():
        found = holm({str(i): row[p].value for i, row in enumerate(group)})
        for i, row in enumerate(group):
            row[corrected] = p_value(found[str(i)], row[p].file, row[p].cell)
