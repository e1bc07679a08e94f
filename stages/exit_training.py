"""Measure how much training an exit needs, by token budget and projection mode. This is not a stage of the pipeline.

It reads what `fetch` and `prepare` of the run wrote. Cells that are already measured are not measured again.

Examples:

    acd exit-training smollm2
    acd exit-training smollm2 --budgets 20000 80000 --modes cast
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths, halfway
from autocontrastive_gen.experiment.plan import read_plan
from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.layers import read_depth

log = logging.getLogger(__name__)
FEWEST = 20_000
"""Tokens of the smallest budget, if the run trains on more."""


def main(
    model: Annotated[str, typer.Argument(help="a model of run.models")],
    budgets: Annotated[
        list[int],
        typer.Option(help="training tokens; by default five, from 20,000 to all of the run's", metavar="TOKENS..."),
    ] = [],  # noqa: B006 - Typer makes a new list per call
    modes: Annotated[list[str], typer.Option(help="direct, cast or head; by default all", metavar="MODE...")] = [],  # noqa: B006
    layer: Annotated[int | None, typer.Option(help="layer of the exit; by default the halfway layer")] = None,
    task: Annotated[str, typer.Option(help="a task made from held-out text")] = "last-word",
    prompts: Annotated[int, typer.Option(help="validation prompts per domain", min=2)] = 16,
    items: Annotated[int, typer.Option(help="items of the task", min=1)] = 200,
    to: Annotated[
        Path | None, typer.Option(help="folder of the results; by default reports/<profile>/training")
    ] = None,
) -> None:
    from autocontrastive_gen.pipeline.exit_training import MODES, Study, cells_of
    from autocontrastive_gen.report.exit_training_tables import training_budget_figure, training_budget_table

    if unknown := [mode for mode in modes if mode not in MODES]:
        raise InputError(f"--modes: {', '.join(unknown)} is none of {', '.join(MODES)}")
    profile = current_profile()
    paths, plan = Paths(profile), read_plan(profile)
    if model not in plan["train"]:
        raise InputError(f"{model!r} is not a model of this run; it has {', '.join(plan['train'])}")
    entry = plan["train"][model]
    layer = layer or halfway(read_depth(paths.asset(entry["model"]["asset"])))
    study = Study(model, layer, task, prompts, items)
    cells = [*cells_of(modes or list(MODES), budgets or default_budgets(entry["tokens"]))]
    own = console.current() or console.Console("exit-training")
    with own.quiet(model):
        table = training_budget_table(study, study.measure(cells, plan, paths))
    drawn = training_budget_figure(study, table)
    folder = to or paths.reports / "training"
    table.write(folder)
    drawn.write(folder)
    log.info("%d cells in %s, drawn in %s", len(cells), folder / f"{table.name}.md", folder / f"{drawn.name}.svg")


def default_budgets(tokens: int) -> list[int]:
    """Five budgets up to ``tokens``, evenly spaced on a log scale, from 20,000 or, of less text, a sixteenth."""
    least = FEWEST if tokens > FEWEST else tokens / 16
    ratio = (tokens / least) ** (1 / 4)
    return [round(least * ratio**i) for i in range(4)] + [tokens]


app = command(main, "exit-training", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.exit_training")
