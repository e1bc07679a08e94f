"""Stage ``fetch``: check the parameters, write the plan, and bring in every asset that the run uses.

    python -m stages.fetch

The only stage that downloads (and ``prepare``, for corpora that are streamed): on a cluster whose nodes are offline,
run it once where the network is.
"""

from __future__ import annotations

import logging
import shutil

from autocontrastive_gen.data.assets import provide
from autocontrastive_gen.experiment import cli
from autocontrastive_gen.experiment.grid import Paths
from autocontrastive_gen.experiment.params import Params, load_params
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.experiment.provenance import cost_meter, write_json

log = logging.getLogger(__name__)


def used_assets(params: Params) -> dict[str, bool]:
    """Names of the assets that the run uses; True for those that are models."""
    domains = [*params.run.domains, *params.prepare.training.sources]
    names = dict.fromkeys([params.domains[name].asset for name in domains] + [params.score.coherence_asset], False)
    return names | {params.models[name].asset: True for name in params.run.models}


def main() -> None:
    params = load_params()
    write_plan(params)
    paths = Paths(params.profile)
    with cost_meter(paths.cost("fetch")):
        records = fetch(params, paths)
        write_json(paths.assets, records)
    log.info("%d assets in %s", len(records), paths.assets.parent)


def fetch(params: Params, paths: Paths) -> dict[str, dict]:
    """Every used asset in its folder and no other there; all assets that can't be had are named together."""
    used = used_assets(params)
    folder = paths.assets.parent
    if folder.is_dir():
        for stranger in folder.iterdir():
            if stranger.name not in used:
                shutil.rmtree(stranger) if stranger.is_dir() else stranger.unlink()
    records, faults = {}, []
    for name, is_model in sorted(used.items()):
        try:
            paths.asset(name).parent.mkdir(parents=True, exist_ok=True)
            records[name] = provide(name, params.assets[name], paths.asset(name), is_model)
        except OSError as error:
            faults.append(str(error))
    if faults:
        raise OSError("\n".join(faults))
    return records


if __name__ == "__main__":
    cli.run(main, "fetch")
