"""One cell of the analyse stage: what a run is asked to take apart, with one model.

Most runs ask for nothing, and then no library of models is imported.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation.answer_kinds import COLUMNS
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, write_csv, write_json
from autocontrastive_gen.pipeline.code import code_digest


def analyse_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.exit_training`` and ``paths.answers``, each if the run asks for it, and what it asks for."""
    shutil.rmtree(paths.analyse(name), ignore_errors=True)
    write_json(paths.analysed(name), {"answers": plan["answers"]["tasks"], "budgets": plan["exit_training"]["budgets"]})
    done = []
    if plan["answers"]["tasks"]:
        from autocontrastive_gen.pipeline.exit_answers import read_answers

        rows = read_answers(name, plan["answers"], paths)
        write_csv(paths.answers(name), list(COLUMNS), rows)
        done.append(f"{len({(row['task'], row['id']) for row in rows})} items under every exit")
    if plan["exit_training"]["budgets"]:
        from autocontrastive_gen.pipeline.exit_training import measure

        scratch = _scratch(name, plan["exit_training"], paths)
        table = measure(plan["exit_training"], paths, scratch)
        write_json(paths.exit_training(name), table)
        shutil.rmtree(scratch, ignore_errors=True)
        done.append(f"exits trained in {len(table['rows'])} ways")
    return ", ".join(done) or "nothing was asked for"


def _scratch(name: str, plan: Mapping[str, Any], paths: Paths) -> Path:
    """Folder of what is measured already, of exactly these parameters, texts and code."""
    key = [name, plan, file_sha256(paths.data_card), code_digest("analyse")]
    return SCRATCH / "exit-training" / fingerprint(key)[:16]
