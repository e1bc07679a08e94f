"""Human evaluation: export blinded pairs of texts, and import the ratings. This is not a stage of the pipeline.

``export`` writes a form that works offline (form.html), the same pairs as csv, and the key, which raters must not see.
``import`` reads the csv files that raters saved, and prints win rates with intervals and the agreement of the raters.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from autocontrastive_gen.evaluation import human
from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import read_plan
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_json, read_jsonl, write_json

HUMAN = "human"


def main() -> None:
    parser = command_parser("human", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write a form with blinded pairs")
    export.add_argument("--model", required=True, help="a model of run.models")
    export.add_argument("--settings", nargs=2, required=True, metavar="SETTING", help='two settings, or "human"')
    export.add_argument("--pairs", type=int, default=20, help="pairs per domain (default: %(default)s)")
    export.add_argument(
        "--question", default=human.DEFAULT_QUESTION, help="what raters are asked (default: %(default)s)"
    )
    export.add_argument("folder", type=Path, help="folder to write")
    read = commands.add_parser("import", help="read the raters' files and summarise them")
    read.add_argument("folder", type=Path, help="folder that export wrote")
    read.add_argument("ratings", nargs="+", type=Path, help="csv files saved by the form, or filled-in pairs.csv")
    arguments = parser.parse_args()
    _export(arguments) if arguments.command == "export" else _import(arguments)


def _export(arguments: argparse.Namespace) -> None:
    if arguments.pairs < 1:
        raise InputError(f"--pairs {arguments.pairs}: must be at least 1")
    if arguments.folder.exists() and not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder}: is a file; name a folder to write")
    profile = current_profile()
    plan, paths = read_plan(profile, "score", arguments.model), Paths(profile)
    pairs: list[dict] = []
    first, second = arguments.settings
    known = [*plan["settings"], HUMAN]
    if first == second or not {first, second} <= set(known):
        raise InputError(f"--settings: {first} and {second} must be two different settings out of {', '.join(known)}")
    for domain in plan["domains"]:
        texts = {name: read_jsonl(paths.texts(arguments.model, name, domain)) for name in {first, second} - {HUMAN}}
        if HUMAN in (first, second):
            texts[HUMAN] = _human_texts(plan, paths, domain, texts)
        made = human.make_pairs(texts, first, second, arguments.pairs, plan["seed"])
        pairs += [{**pair, "pair": f"{domain}-{pair['pair']}"} for pair in made]
    human.export(pairs, arguments.folder, arguments.question)
    print(f"{len(pairs)} pairs in {arguments.folder}; send form.html or pairs.csv to the raters, and keep key.json")


def _human_texts(plan: Mapping, paths: Paths, domain: str, texts: Mapping[str, list[dict]]) -> list[dict]:
    """Human continuations with as many tokens as the generated ones, so that the length does not give them away."""
    from transformers import AutoTokenizer

    from autocontrastive_gen.pipeline.score_cell import human_rows

    tokenizer = AutoTokenizer.from_pretrained(paths.asset(plan["model"]["asset"]), local_files_only=True)
    longest = max(len(row["tokens"]) for rows in texts.values() for row in rows)
    return human_rows(tokenizer, read_jsonl(paths.prompts(domain)), longest)


def _import(arguments: argparse.Namespace) -> None:
    absent = [path for path in (arguments.folder / "key.json", *arguments.ratings) if not path.is_file()]
    if absent:
        raise InputError(f"{absent[0]}: no such file; give the folder that export wrote, then the raters' csv files")
    key = read_json(arguments.folder / "key.json")
    summary = human.summarise(human.read_votes(arguments.ratings, key), key)
    write_json(arguments.folder / "summary.json", summary)
    print(f"{summary['votes']} votes by {summary['raters']} raters on {summary['pairs']} pairs")
    for setting, entry in summary["settings"].items():
        rate = entry["win_rate"]
        print(f"{setting:24} wins {rate['value']:.1%} (95 % interval {rate['low']:.1%} to {rate['high']:.1%})")
    agreed, alpha = summary["agreement"]["percent"], summary["agreement"]["alpha"]
    print("agreement: " + ("no pair has two raters" if agreed is None else f"{agreed:.0f} %, alpha {alpha}"))


if __name__ == "__main__":
    run(main, "human")
