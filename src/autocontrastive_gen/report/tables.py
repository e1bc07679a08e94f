"""All tables of a report."""

from __future__ import annotations

from autocontrastive_gen.report.benchmark_tables import accuracy_table, benchmark_table
from autocontrastive_gen.report.claim_tables import claims_table, published_table
from autocontrastive_gen.report.claims import Check
from autocontrastive_gen.report.exit_tables import exits_table, training_table
from autocontrastive_gen.report.paper import Paper
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Table
from autocontrastive_gen.report.text_tables import gains_table, quality_table, selection_table


def all_tables(results: Results, paper: Paper | None, checks: list[Check]) -> list[Table]:
    """In the order in which a reader wants them."""
    return [
        claims_table(results, checks),
        quality_table(results),
        gains_table(results),
        benchmark_table(results),
        exits_table(results),
        selection_table(results),
        published_table(results, paper),
        training_table(results),
        accuracy_table(results),
    ]
