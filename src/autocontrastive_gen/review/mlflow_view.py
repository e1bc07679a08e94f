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
    """The view as MLflow's page reads it: a row per setting, a column per metric of its texts and of its benchmarks.

    Columns are in the order of importance: means over domains, benchmarks, single domains. MLflow's page sorts them by
    name, which puts the short names, coherence and diversity, first. A setting that is benchmarked alone has a row too.
    """
    texts, tasks = (_results(cells, stage) for stage in ("generate", "benchmark"))
    order = [metric.key for metric in text_metrics().values() if metric.headline]
    texts = [name for name in texts if name not in tasks and name.rpartition("/")[2] in order]
    texts.sort(key=lambda name: order.index(name.rpartition("/")[2]))
    means = [name for name in texts if name in order]
    columns = dict.fromkeys([*means, *tasks, *texts])
    chosen = [*_NAMES, *(f"metrics.`{name}`" for name in columns)]
    only = "tags.setting LIKE '%'" if _benchmarked_alone(cells) else "tags.`dvc.stage` LIKE 'generate@%'"
    while len(view := _state(chosen, only)) > _LIMIT:
        chosen.pop()
    return view


def _results(cells: list[Cell], stage: str) -> list[str]:
    """Names of the metrics of a stage's cells, without costs and errors."""
    names = (point.name for cell in cells if cell.entry.stage == stage for point in cell.points)
    return [name for name in dict.fromkeys(names) if not name.startswith(COST) and not name.endswith(_SPREAD)]


def _benchmarked_alone(cells: list[Cell]) -> bool:
    """Whether some setting is benchmarked and no cell of ``generate`` holds its results."""
    held = {(cell.model, cell.benchmarked) for cell in cells}
    return any(cell.entry.stage == "benchmark" and (cell.model, cell.setting) not in held for cell in cells)


def _state(columns: list[str], only: str) -> str:
    # in any order but that of time, MLflow lists cells on their own and not below their parents
    state = {
        "searchFilter": only,
        "orderByKey": "tags.`setting`",
        "orderByAsc": True,
        "selectedColumns": columns,
    }
    return json.dumps(state)


def address(server: str, experiment_id: str) -> str:
    """Address of the view on a server."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}"
