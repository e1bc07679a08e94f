"""All tables of a report."""

from __future__ import annotations

from autocontrastive_gen.report.answer_tables import first_choices_table, gain_sources_table, multiple_choice_table
from autocontrastive_gen.report.benchmark_tables import accuracy_table, benchmark_table
from autocontrastive_gen.report.choice_tables import selection_table
from autocontrastive_gen.report.claim_tables import claims_table, trade_off_table
from autocontrastive_gen.report.draft_tables import drafts_table
from autocontrastive_gen.report.exit_tables import exits_table, training_table
from autocontrastive_gen.report.exit_training_tables import exit_training_table
from autocontrastive_gen.report.findings import Findings
from autocontrastive_gen.report.gain_tables import gains_table
from autocontrastive_gen.report.methods import methods_table
from autocontrastive_gen.report.overview_tables import benchmark_overview, overview_table
from autocontrastive_gen.report.paper import Paper
from autocontrastive_gen.report.published_tables import published_table
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Table
from autocontrastive_gen.report.text_tables import quality_table


def all_tables(results: Results, papers: list[Paper], findings: Findings) -> list[Table]:
    """Every table, in reading order; of analyses, those that the run asks for."""
    benchmark = benchmark_table(results)
    analysed = [
        make(results) for make in (exit_training_table, gain_sources_table, first_choices_table, multiple_choice_table)
    ]
    return [
        claims_table(findings.checks, findings.rules),
        trade_off_table(results, findings.trade_offs, findings.rules),
        overview_table(results),
        gains_table(results),
        quality_table(results),
        benchmark_overview(results, benchmark),
        benchmark,
        exits_table(results),
        selection_table(results),
        drafts_table(results),
        *(table for table in analysed if table.rows),
        methods_table(results),
        published_table(results, papers, benchmark),
        training_table(results),
        accuracy_table(benchmark),
    ]
