"""The columns that MLflow's table of runs opens with: settings one below the other, and what each reaches.

MLflow keeps a shared view of an experiment as a tag of it, and opens the view that the address names.
"""

from __future__ import annotations

import json

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.review.records import COST, Cell

KEY = "results"
TAG = f"mlflow.sharedViewState.{KEY}"
_LIMIT = 5000
"""Characters that MLflow's stores accept in a tag of an experiment."""
_NAMES = ("tags.`dvc.exp`",)
_SPREAD = ("_low", "_high", "_stderr")


def shared_view(cells: list[Cell]) -> str:
    """The view as MLflow's page reads it: a row a cell with a setting, a column a metric of its texts or its tasks."""
    headline = {metric.key for metric in text_metrics().values() if metric.headline}
    columns = dict.fromkeys(_NAMES)
    for cell in cells:
        for point in cell.points:
            name = point.name
            text = cell.entry.stage == "generate" and name.rpartition("/")[2] in headline
            task = cell.entry.stage == "benchmark" and not name.startswith(COST) and not name.endswith(_SPREAD)
            if text or task:
                columns[f"metrics.`{name}`"] = None
    chosen = list(columns)
    while len(view := _state(chosen)) > _LIMIT:
        chosen.pop()
    return view


def _state(columns: list[str]) -> str:
    # in any order but that of time MLflow shows cells by themselves, not below their parents
    state = {
        "searchFilter": "tags.setting LIKE '%'",
        "orderByKey": "tags.`setting`",
        "orderByAsc": True,
        "selectedColumns": columns,
    }
    return json.dumps(state)


def address(server: str, experiment_id: str) -> str:
    """Where the view opens in the page of a server."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}"
