"""One cell of the benchmark stage: lm-eval's tasks with one model under one setting, in this process."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.grid import SCRATCH, Paths
from autocontrastive_gen.experiment.provenance import (
    file_sha256,
    fingerprint,
    read_json,
    seed_for,
    write_csv,
    write_json,
)

log = logging.getLogger(__name__)

BOOTSTRAPS = 1000
"""Resamples of the standard errors that lm-eval has no formula for (perplexity)."""


def benchmark_cell(name: str, setting: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> None:
    """Write ``paths.results`` and ``paths.items``; answers that an interrupted run had are taken from ``.scratch``."""
    from autocontrastive_gen.generation.cell import code_digest

    path = paths.resolved(name, setting)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no layers are known for {setting!r}; run `dvc repro train@{name}` first")
    resolved = read_json(path)
    files = sorted(file for file in paths.tasks.glob("*") if file.is_file())
    key = [plan, resolved, [(file.name, file_sha256(file)) for file in files], code_digest()]
    scratch = SCRATCH / "benchmark" / fingerprint(key)[:16]
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_DATASETS_CACHE", str(SCRATCH / "datasets"))
    lm = _load(name, resolved, plan, paths)
    output = evaluate(lm, plan["tasks"], [paths.tasks], plan, cache=scratch / "answers")
    if output is None:  # only the main process has the results
        return
    shutil.rmtree(paths.benchmark(name, setting), ignore_errors=True)
    write_json(paths.results(name, setting), results(output))
    write_csv(paths.items(name, setting), ["task", "id", "metric", "value"], items(output))
    shutil.rmtree(scratch, ignore_errors=True)
    cost["items"] = sum(1 for _ in items(output))
    log.info("%s done; written to %s", ", ".join(plan["tasks"]), paths.benchmark(name, setting))


def _load(name: str, resolved: Mapping[str, Any], plan: Mapping[str, Any], paths: Paths):
    from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
    from autocontrastive_gen.experiment.processes import Processes
    from autocontrastive_gen.generation.cell import exit_fields

    fields = exit_fields(resolved, plan["contrast"])
    processes = Processes.start()
    os.environ.pop("ACCELERATE_USE_FSDP", None)  # shards are for training: each process answers with a whole model
    return MultiExitLM(
        pretrained=str(paths.asset(plan["model"]["asset"])),
        exits=None if fields["use_original_head"] else str(paths.exits(name)),
        dtype=plan["model"]["dtype"],
        device=processes.device.type,
        batch_size=plan["batch_size"],
        **fields,
    )


def evaluate(
    lm, tasks: list[str], folders: Iterable[Path], options: Mapping[str, Any], cache: Path | None = None
) -> dict | None:
    """Run lm-eval's ``simple_evaluate``; None in all processes but the main one.

    Args:
        lm: a model of lm-eval.
        folders: task folders; lm-eval's own tasks are indexed (20 s) only if a task lies in none of them.
        options: "limit", "num_fewshot" and "seed".
        cache: sqlite files of finished answers start with this path.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folders = [Path(folder) for folder in folders]
    local = {file.stem for folder in folders for file in folder.rglob("*.yaml")}
    manager = TaskManager(include_path=[str(folder) for folder in folders], include_defaults=not set(tasks) <= local)
    unknown = sorted(set(tasks) - set(manager.all_tasks))
    if unknown:
        where = ", ".join(str(folder) for folder in folders)
        raise ValueError(f"run.tasks: no task {', '.join(unknown)} in {where} nor in lm-eval; local: {sorted(local)}")
    seed = seed_for(options["seed"], "benchmark") % 2**31
    # else lm-eval resamples in a forked pool: the same numbers, but a fork of a process with threads may hang
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    logging.getLogger("sqlitedict").setLevel(logging.CRITICAL)  # it prints the stack of what it raises as well
    try:
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
    except sqlite3.Error as error:
        raise OSError(
            f"finished answers can't be kept in {cache}*: {error}; is the disk full? Make room, or remove damaged "
            "files there, then run the same command to go on"
        ) from error


def results(output: Mapping[str, Any]) -> dict[str, dict]:
    """{task: {metric: {value, stderr, n}}}; a metric of another filter than "none" is ``<metric>,<filter>``."""
    found: dict[str, dict] = {}
    for task, entries in output["results"].items():
        n = output["n-samples"].get(task, {}).get("effective")
        for key, value in entries.items():
            metric, _, filter_ = key.partition(",")
            if filter_ and not metric.endswith("_stderr") and isinstance(value, Real):
                error = entries.get(f"{metric}_stderr,{filter_}")
                found.setdefault(task, {})[_metric(metric, filter_)] = {
                    "value": float(value),
                    "stderr": float(error) if isinstance(error, Real) else None,
                    "n": n,
                }
    return found


def items(output: Mapping[str, Any]) -> Iterable[dict]:
    """Rows ``{"task", "id", "metric", "value"}``, in the order of the items; metrics that are no numbers are left out.

    An item's id is its "id" where the data have one, else its number. Perplexity's values are log-likelihoods.
    """
    for task, samples in sorted(output["samples"].items()):
        for sample in sorted(samples, key=lambda sample: (sample["doc_id"], sample["filter"])):
            identity = (
                sample["doc"].get("id", sample["doc_id"]) if isinstance(sample["doc"], dict) else sample["doc_id"]
            )
            for metric in sorted(sample["metrics"]):
                value = sample[metric]
                if isinstance(value, Real):
                    name = _metric(metric, sample["filter"])
                    yield {"task": task, "id": identity, "metric": name, "value": float(value)}


def _metric(metric: str, filter_: str) -> str:
    return metric if filter_ == "none" else f"{metric},{filter_}"
