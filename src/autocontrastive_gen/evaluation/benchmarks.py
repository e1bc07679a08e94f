"""lm-eval's tasks in this process, and its results in the form the project keeps."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation import answers
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError

log = logging.getLogger(__name__)

ITEM_COLUMNS = ("task", "id", "document", "metric", "value")
BOOTSTRAPS = 1000
"""Resamples of the standard errors that lm-eval has no formula for (perplexity)."""


def evaluate(
    lm, tasks: list[str], folders: Iterable[Path], options: Mapping[str, Any], cache: Path | None = None
) -> dict | None:
    """Run lm-eval's ``simple_evaluate``; None in all processes but the main one.

    Args:
        lm: a model of lm-eval.
        folders: task folders; lm-eval's own tasks are indexed (20 s) only if a task lies in none of them.
        options: "limit", "num_fewshot" and "seed".
        cache: files of finished answers start with this path.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folders = [Path(folder) for folder in folders]
    local = {file.stem for folder in folders for file in folder.rglob("*.yaml")}
    manager = TaskManager(include_path=[str(folder) for folder in folders], include_defaults=not set(tasks) <= local)
    unknown = sorted(set(tasks) - set(manager.all_tasks))
    if unknown:
        where = ", ".join(str(folder) for folder in folders)
        raise InputError(f"run.tasks: no task {', '.join(unknown)} in {where} nor in lm-eval; local: {sorted(local)}")
    seed = seed_for(options["seed"], "benchmark") % 2**31
    # else lm-eval resamples in a forked pool: the same numbers, but a fork of a process with threads may hang
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    with _infinite_perplexities(), answers.kept():
        return simple_evaluate(
            model=lm,
            tasks=list(tasks),
            task_manager=manager,
            num_fewshot=options["num_fewshot"],
            limit=options["limit"],
            bootstrap_iters=BOOTSTRAPS,
            use_cache=str(cache) if cache else None,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )


class _Math:
    """Python's ``math``, whose ``exp`` is infinite where a float ends instead of raising OverflowError."""

    def __getattr__(self, name: str) -> Any:
        return getattr(math, name)

    @staticmethod
    def exp(x: float) -> float:
        return math.exp(x) if x < 709 else math.inf


@contextmanager
def _infinite_perplexities() -> Iterator[None]:
    """Within it, lm-eval's perplexity of targets that a method all but excludes is infinite."""
    from lm_eval.api import metrics

    before, metrics.math = metrics.math, _Math()
    try:
        yield
    finally:
        metrics.math = before


def results(output: Mapping[str, Any]) -> dict[str, dict]:
    """{task: {metric: {value, stderr, n}}}; a metric of another filter than "none" is ``<metric>,<filter>``.

    A perplexity is infinite where a method gives a target the probability zero; it has no standard error then.
    """
    found: dict[str, dict] = {}
    for task, entries in output["results"].items():
        n = output["n-samples"].get(task, {}).get("effective")
        for key, value in entries.items():
            metric, _, filter_ = key.partition(",")
            if filter_ and not metric.endswith("_stderr") and isinstance(value, Real):
                error = entries.get(f"{metric}_stderr,{filter_}")
                found.setdefault(task, {})[_metric(metric, filter_)] = {
                    "value": float(value),
                    "stderr": float(error) if isinstance(error, Real) and math.isfinite(error) else None,
                    "n": n,
                }
    return found


def items(output: Mapping[str, Any]) -> Iterable[dict]:
    """Rows of ``ITEM_COLUMNS``, in the order of the items; metrics that are no numbers are left out.

    An item's id is its "id" where the data have one, else its number; it is a document of its own unless its data name
    the "document" that it comes from. Perplexity's values are log-likelihoods.
    """
    for task, samples in sorted(output["samples"].items()):
        for sample in sorted(samples, key=lambda sample: (sample["doc_id"], sample["filter"])):
            doc = sample["doc"] if isinstance(sample["doc"], dict) else {}
            identity = doc.get("id", sample["doc_id"])
            names = {"task": task, "id": identity, "document": doc.get("document", identity)}
            for metric in sorted(sample["metrics"]):
                value = sample[metric]
                if isinstance(value, Real):
                    name = _metric(metric, sample["filter"])
                    yield {**names, "metric": name, "value": float(value)}


def _metric(metric: str, filter_: str) -> str:
    return metric if filter_ == "none" else f"{metric},{filter_}"
