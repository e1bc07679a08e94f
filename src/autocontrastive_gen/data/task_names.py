"""Faults of parameters about benchmark tasks, whose names our own modules and lm-eval know."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from autocontrastive_gen.data import bundles
from autocontrastive_gen.data.local_tasks import TASKS
from autocontrastive_gen.evaluation.lm_eval_harness import tasks as own_tasks
from autocontrastive_gen.experiment.params import Params, ParamsError
from autocontrastive_gen.foundation.errors import did_you_mean

_NAMES = re.compile(
    rb"""^[\s-]*["']?(?:task|group|tag)["']?[ ]*:[ ]*["']?([^\s"'#]+)  # task: name
    |^[ ]*-[ ]+["']?([^\s"'#:]+)                            # an entry of a list: tags stand there""",
    re.MULTILINE | re.VERBOSE,
)


def check_tasks(params: Params, origin: str = "params.yaml") -> None:
    """Refuse tasks that neither ``prepare`` can make nor lm-eval has.

    Raises:
        ParamsError: every such task, with the key that names it.
    """
    if found := list(_faults(params)):
        raise ParamsError("\n".join(f"{origin}: {fault}" for fault in found))


def _faults(params: Params) -> Iterator[str]:
    items = params.prepare.benchmark_items
    for key in ("benchmark_items", "benchmark_validation_items", "benchmark_sources"):
        for name in getattr(params.prepare, key):
            if name not in TASKS:
                hint = did_you_mean(name, TASKS) or f"there are: {', '.join(TASKS)}"
                yield f"prepare.{key}.{name}: is not allowed: no task is made from held-out text by that name; {hint}"
    for task in params.run.tasks:
        if task in TASKS and task not in items:
            yield f"prepare.benchmark_items: gives no number of items for the task {task!r} of run.tasks; add it"
    others = [task for task in params.run.tasks if task not in TASKS]
    known = names_of_lm_eval() if others else set()
    for task in others:
        if task not in known:
            hint = did_you_mean(task, [*TASKS, *known]) or "`lm-eval ls tasks` lists those of lm-eval"
            yield (
                f"run.tasks: {task!r} is not allowed: it is neither a task of lm-eval nor one made from held-out text "
                f"({', '.join(TASKS)}); {hint}"
            )


def names_of_lm_eval() -> set[str]:
    """Names of lm-eval's tasks, groups and tags, and of ours in its format.

    Its 14,000 files are searched and not parsed: 1 s instead of 12. Entries of other lists are among the names, so a
    name that is missing here is no task, and one that is here may not be one either.
    """
    found: set[bytes] = set()
    for folder in (bundles.tasks_folder(), own_tasks.FOLDER):
        for path, _, files in os.walk(folder):
            for file in files:
                if file.endswith((".yaml", ".yml")) or "." not in file:  # files without a suffix are included by others
                    content = Path(path, file).read_bytes()
                    found.update(name for pair in _NAMES.findall(content) for name in pair)
    return {name.decode(errors="replace") for name in found}
