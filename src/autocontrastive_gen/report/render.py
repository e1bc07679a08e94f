"""Writes every part of a report from the results of a run."""

from __future__ import annotations

import logging
import shutil
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import write_json, write_text
from autocontrastive_gen.report.badge import claims_badge
from autocontrastive_gen.report.claim_rules import read_claims
from autocontrastive_gen.report.cost_summary import write_cost
from autocontrastive_gen.report.example_lens import write_example_lens
from autocontrastive_gen.report.figures import all_figures, cost_figure
from autocontrastive_gen.report.findings import Findings
from autocontrastive_gen.report.html import write_page
from autocontrastive_gen.report.metrics_file import flat
from autocontrastive_gen.report.paper import read_deviations, read_papers
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.tables import all_tables

log = logging.getLogger(__name__)


def write_report(paths: Paths, plan: dict[str, Any]) -> Results:
    """Write tables, figures, metrics.json, badge, cost, page and lens of a profile under ``reports/<profile>/``.

    Args:
        plan: the plan's entry "report".
    """
    papers, results = read_papers(plan["paper"]), Results(paths, plan)
    findings = Findings.of(results, read_claims())
    tables = all_tables(results, papers, findings)
    by_name = {table.name: table for table in tables}
    figures = all_figures(results, by_name)
    for name, parts in (("tables", tables), ("figures", figures)):
        folder = paths.reports / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for part in parts:
            part.write(folder)
    write_json(paths.reports / "metrics.json", flat(results))
    write_text(paths.reports / "badge.svg", claims_badge(paths.profile, findings.checks))
    cost = write_cost(results)
    if drawn := cost_figure(cost):
        drawn.write(paths.reports)
        figures.append(drawn)
    lens = write_example_lens(results)
    write_page(results, by_name, figures, findings, cost, papers=papers, deviations=read_deviations(), lens=lens)
    for path in results.missing:
        log.warning("%s is absent: shown as not run", path)
    for path in results.strangers:
        log.warning("%s belongs to no cell of this run: ignored", path)
    return results
