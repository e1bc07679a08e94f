"""Check the parameters, write the plan, and fetch every asset and task that the run uses.

    python -m stages.fetch
    python -m stages.fetch --tasks lambada_openai hellaswag --to bundle

The only stage that downloads, except that ``prepare`` streams corpora: on a cluster whose nodes are offline, run it
once on a machine with a network. The second form makes a folder of benchmark data that runs without the hub.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.data.assets import provide, provide_tasks
from autocontrastive_gen.data.fetched import check_fetched
from autocontrastive_gen.data.sources import drop_archives
from autocontrastive_gen.data.task_names import check_tasks
from autocontrastive_gen.experiment.cell_command import cell_of_run
from autocontrastive_gen.experiment.params import Params, load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import text_sources, write_plan
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.cost import cost_meter
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import FileError
from autocontrastive_gen.foundation.files import SCRATCH, read_json, write_json

log = logging.getLogger(__name__)


Bundle = Annotated[Path, typer.Option("--to", help="folder of the bundle")]
Given = Annotated[
    Path | None, typer.Option(help="folder with publishers' files, <task>/<file>, searched before the hub")
]


def main(
    tasks: Annotated[list[str], typer.Option(help="only make a bundle of these lm-eval tasks", metavar="TASK...")] = [],  # noqa: B006 - Typer makes a new list per call
    to: Bundle = Path("bundle"),
    given: Given = None,
) -> None:
    if tasks:
        fetch_tasks(tasks, to, given)
    else:
        fetch_run()


def fetch_tasks(
    tasks: Annotated[list[str], typer.Argument(help="tasks of lm-eval", metavar="TASK")],
    to: Bundle = Path("bundle"),
    given: Given = None,
) -> None:
    """Make a folder of benchmark data that runs without the hub.

    Examples:

        acd fetch-tasks lambada_openai hellaswag --to bundle
    """
    from autocontrastive_gen.data.bundles import collect, install

    collect(tasks, to, given)
    log.info("%d tasks in %s", len(install(to, to)), to)


def fetch_run() -> None:
    """Fetch everything that the run of params.yaml uses."""
    params = load_params()
    check_tasks(params)
    write_plan(params)
    paths = Paths(params.profile)
    latest = SCRATCH / "fetch-cost.json"
    with cell_of_run(params.profile, "fetch") as outcome, cost_meter(latest) as cost:
        records = fetch(params, paths)
        check_fetched(params, paths)
        outcome.append(f"{len(records)} assets in {paths.assets.parent}")
        write_json(paths.assets, records)
        cost["assets"] = fingerprint(records)
    keep_first_cost(latest, paths.cost("fetch"))


def keep_first_cost(latest: Path, kept: Path) -> None:
    """Keep the cost of fetching these assets for the first time: every edit of params.yaml runs this stage again, and
    the report, which depends on the costs, must not run again with it."""
    if not kept.exists() or read_json(kept).get("assets") != read_json(latest)["assets"]:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(latest, kept)


def used_assets(params: Params) -> dict[str, bool]:
    """{name: whether it is a model} of the assets that the run uses."""
    others = [params.score.coherence_asset, *filter(None, [params.prepare.bundle])]
    names = dict.fromkeys([params.domains[name].asset for name in text_sources(params)] + others, False)
    models = [params.models[name].asset for name in params.run.models]
    models += [params.score.mauve_asset] if params.score.mauve and params.score.mauve_asset else []
    return names | dict.fromkeys(models, True)


def known_records(path: Path) -> dict[str, dict]:
    """Records of what an earlier run, or `dvc pull` in a clone, has brought."""
    try:
        return read_json(path)
    except (OSError, ValueError):  # none yet, or damaged: everything is fetched anew
        return {}


def fetch(params: Params, paths: Paths) -> dict[str, dict]:
    """Put every asset that the run uses into its folder, remove all others, and return the records.

    Raises:
        FileError: assets cannot be obtained; the message names all of them.
    """
    used = used_assets(params)
    folder = paths.assets.parent
    known = known_records(paths.assets)
    for stranger in folder.iterdir() if folder.is_dir() else ():
        if stranger.name not in (*used, paths.task_data.name):
            shutil.rmtree(stranger) if stranger.is_dir() else stranger.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    records: dict[str, dict] = {}
    faults: list[tuple[str, OSError]] = []
    for name, is_model in sorted(used.items()):
        try:
            records[name] = provide(name, params.assets[name], paths.asset(name), is_model, known.get(name))
        except OSError as error:
            faults.append((f"asset {name}: {error}" if error.errno else str(error), error))
    try:
        bundle = params.prepare.bundle
        given = (paths.asset(bundle), records[bundle]["sha256"]) if bundle in records else None
        provide_tasks(params.run.tasks, paths.task_data, given)
    except OSError as error:
        faults.append((f"data of run.tasks: {error}" if error.errno else str(error), error))
    if faults:
        raise FileError("\n".join(said for said, _ in faults)) from faults[0][1]
    drop_archives()
    return records


tasks_app = command(fetch_tasks, "fetch-tasks")

if __name__ == "__main__":
    command(main, "fetch", __doc__)(prog_name="python -m stages.fetch")
