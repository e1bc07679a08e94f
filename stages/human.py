"""Human evaluation: export blinded pairs of texts, and import the ratings. This is not a stage of the pipeline.

``export`` writes a form that works offline (form.html), the same pairs as csv, and the key, which raters must not see.
``import`` reads the csv files that raters saved, and prints win rates with intervals and the agreement of the raters.

Examples:

    acd human export --model smollm2 --settings greedy greedy-acd study
    acd human import study anna.csv ben.csv
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.evaluation import human
from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.command_line import group
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_jsonl, write_json

HUMAN = "human"


def export(
    folder: Annotated[Path, typer.Argument(help="folder to write")],
    model: Annotated[str, typer.Option(help="a model of run.models")],
    settings: Annotated[tuple[str, str], typer.Option(help='two settings, or one and "human"')],
    pairs: Annotated[int, typer.Option(min=1, help="pairs per domain")] = 20,
    question: Annotated[str, typer.Option(help="what raters are asked")] = human.DEFAULT_QUESTION,
) -> None:
    """Write a form with blinded pairs."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write")
    profile = current_profile()
    plan, paths = read_plan(profile, "score", model), Paths(profile)
    made: list[dict] = []
    first, second = settings
    known = [*plan["settings"], HUMAN]
    if first == second or not {first, second} <= set(known):
        raise InputError(f"--settings: {first} and {second} must be two different settings out of {', '.join(known)}")
    for domain in plan["domains"]:
        texts = {name: read_jsonl(paths.texts(model, name, domain)) for name in {first, second} - {HUMAN}}
        if HUMAN in (first, second):
            texts[HUMAN] = _human_texts(plan, paths, domain, texts)
        of_domain = human.make_pairs(texts, first, second, pairs, plan["seed"])
        made += [{**pair, "pair": f"{domain}-{pair['pair']}"} for pair in of_domain]
    human.export(made, folder, question)
    print(f"{len(made)} pairs in {folder}; send form.html or pairs.csv to the raters, and keep key.json")


def _human_texts(plan: Mapping, paths: Paths, domain: str, texts: Mapping[str, list[dict]]) -> list[dict]:
    """Human continuations with as many tokens as the generated ones, so that the length does not give them away."""
    from transformers import AutoTokenizer

    from autocontrastive_gen.pipeline.score_cell import human_rows

    tokenizer = AutoTokenizer.from_pretrained(paths.asset(plan["model"]["asset"]), local_files_only=True)
    longest = max(len(row["tokens"]) for rows in texts.values() for row in rows)
    return human_rows(tokenizer, read_jsonl(paths.prompts(domain)), longest)


def read(
    folder: Annotated[Path, typer.Argument(help="folder that export wrote")],
    ratings: Annotated[list[Path], typer.Argument(help="csv files saved by the form, or filled-in pairs.csv")],
) -> None:
    """Read the raters' files and summarise them."""
    absent = [path for path in (folder / "key.json", *ratings) if not path.is_file()]
    if absent:
        raise InputError(f"{absent[0]}: no such file; give the folder that export wrote, then the raters' csv files")
    key = human.read_key(folder / "key.json")
    summary = human.summarise(human.read_votes(ratings, key), key)
    write_json(folder / "summary.json", summary)
    print(f"{summary['votes']} votes by {summary['raters']} raters on {summary['pairs']} pairs")
    for setting, entry in summary["settings"].items():
        rate = entry["win_rate"]
        print(f"{setting:24} wins {rate['value']:.1%} (95 % interval {rate['low']:.1%} to {rate['high']:.1%})")
    agreed, alpha = summary["agreement"]["percent"], summary["agreement"]["alpha"]
    print("agreement: " + ("no pair has two raters" if agreed is None else f"{agreed:.0f} %, alpha {alpha}"))


app = group("human", __doc__, **{"export": export, "import": read})

if __name__ == "__main__":
    app(prog_name="python -m stages.human")
