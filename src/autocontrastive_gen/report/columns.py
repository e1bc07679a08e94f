"""Columns, numbers and phrases that several tables share."""

from __future__ import annotations

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
