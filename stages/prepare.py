"""Clean the text and divide it into training text, prompts, held-out documents and benchmark items."""

from __future__ import annotations

import logging
import shutil

from autocontrastive_gen.experiment.cell_command import cell_of_run, current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.cost import cost_meter
from autocontrastive_gen.foundation.files import read_json

log = logging.getLogger(__name__)


def main() -> None:
    command_parser("prepare", __doc__).parse_args()
    profile = current_profile()
    paths, plan = Paths(profile), read_plan(profile, "prepare")
    with cell_of_run(profile, "prepare") as outcome, cost_meter(paths.cost("prepare")):
        from autocontrastive_gen.data.preparation import Preparation

        preparation = Preparation(plan, paths, read_json(paths.assets))
        shutil.rmtree(paths.prepare, ignore_errors=True)
        card = preparation.run()
        counts = {name: source["counts"] for name, source in card["sources"].items()}
        for name, found in counts.items():
            log.debug("%s: %s", name, ", ".join(f"{count} {key}" for key, count in found.items()))
        for key in ("prompts", "training_words"):
            outcome.append(f"{sum(found.get(key, 0) for found in counts.values())} {key.replace('_', ' ')}")


if __name__ == "__main__":
    run(main, "prepare")
