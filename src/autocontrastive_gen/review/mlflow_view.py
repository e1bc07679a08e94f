"""The view that MLflow's table of runs opens with: a row per setting and a column per result.

MLflow keeps a shared view as a tag of the experiment and opens the view that the address names.
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
    """The view as MLflow's page reads it: a row per cell with a setting, a column per metric of its texts or tasks."""
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
    # in any order but that of time, MLflow lists cells on their own and not below their parents
    state = {
        "searchFilter": "tags.setting LIKE '%'",
        "orderByKey": "tags.`setting`",
        "orderByAsc": True,
        "selectedColumns": columns,
    }
    return json.dumps(state)


def address(server: str, experiment_id: str) -> str:
    """Address of the view on a server."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}"
