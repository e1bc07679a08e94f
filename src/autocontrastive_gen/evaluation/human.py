"""Human evaluation: blinded side-by-side pairs as an offline form, and the analysis of the raters' votes.

A pair shows a prompt with two continuations, usually of a contrast setting and of its plain one (any two settings, or
the human text, are possible). The seed decides which of them is on the left; only the key file, which raters do not
get, records it.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined

from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError, mendable, shown
from autocontrastive_gen.foundation.files import read_json, write_csv, write_json, write_text

SIDES = ("left", "right")
CHOICES = {"left": "Left is better", "right": "Right is better", "tie": "About the same"}
"""The votes and how the form words them."""
COLUMNS = ["pair", "rater", "vote"]
DEFAULT_QUESTION = (
    "Which text is the better continuation: fluent, coherent with the beginning, and interesting to read?"
)

Row = Mapping[str, str]


def make_pairs(texts: Mapping[str, Sequence[Row]], first: str, second: str, count: int, seed: int) -> list[dict]:
    """Shuffled, blinded pairs of two settings.

    Args:
        texts: {setting: rows with "id", "prompt" and "continuation"}; prompts of both settings are paired.
        count: pairs to draw.

    Returns:
        Rows ``{"pair", "prompt", "left", "right", "prompt_id", "left_setting", "right_setting"}``.

    Raises:
        InputError: the settings share fewer than ``count`` prompts.
    """
    rows = {setting: {row["id"]: row for row in texts[setting]} for setting in (first, second)}
    common = [name for name in rows[first] if name in rows[second]]
    if count > len(common):
        raise InputError(
            f"pairs: {count} were requested, but {first} and {second} share {len(common)} prompts; ask for fewer"
        )
    generator = random.Random(seed_for(seed, "human", first, second))
    pairs = []
    for number, name in enumerate(generator.sample(common, count), 1):
        sides = [first, second] if generator.random() < 0.5 else [second, first]
        pairs.append(
            {
                "pair": f"{number:03d}",
                "prompt": rows[first][name]["prompt"],
                **{side: rows[s][name]["continuation"].strip() for side, s in zip(SIDES, sides, strict=True)},
                "prompt_id": name,
                **{f"{side}_setting": s for side, s in zip(SIDES, sides, strict=True)},
            }
        )
    return pairs


def export(pairs: Sequence[dict], folder: Path, question: str = DEFAULT_QUESTION) -> None:
    """Write ``form.html`` and ``pairs.csv`` for the raters, and ``key.json``, which stays with the experimenter.

    Raises:
        InputError: there are no pairs, or the folder holds the key of other pairs, without which their ratings could
            not be read.
    """
    if not pairs:
        raise InputError("no pairs to show: ask for at least one pair per domain")
    columns = ["pair", "prompt", "left", "right"]
    hidden = ("prompt_id", "left_setting", "right_setting")
    key = {pair["pair"]: {name: pair[name] for name in hidden} for pair in pairs}
    if (folder / "key.json").exists() and read_json(folder / "key.json") != key:
        raise InputError(f"{folder / 'key.json'} is the key of other pairs: name another folder, or remove this one")
    rows = [{name: _no_formula(pair[name]) for name in columns} for pair in pairs]
    write_csv(folder / "pairs.csv", [*columns, "vote"], rows)
    write_text(folder / "form.html", _form(pairs, question))
    write_json(folder / "key.json", key)


def _no_formula(text: str) -> str:
    """The text, behind an apostrophe if a spreadsheet would take it for a formula and run it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def read_key(path: Path) -> dict[str, dict]:
    """The key that ``export`` wrote.

    Raises:
        InputError: the file is another one.
    """
    key = read_json(path)
    fields = {"prompt_id", "left_setting", "right_setting"}
    if not isinstance(key, dict) or not all(isinstance(pair, dict) and fields <= set(pair) for pair in key.values()):
        raise InputError(f"{path}: is not a key that `human export` wrote; name the folder that it wrote")
    return key


def read_votes(files: Iterable[Path], key: Mapping[str, Mapping]) -> list[dict]:
    """Votes ``{"pair", "rater", "vote"}`` from csv files: saved by the form, or filled-in copies of ``pairs.csv``.

    A file without a rater column belongs to one rater, named after the file. Empty votes are left out.

    Raises:
        InputError: a pair or vote is unknown, or a rater voted twice on a pair; the message gives file and line.
    """
    votes: list[dict] = []
    seen: dict[tuple[str, str], str] = {}
    for path in files:
        unreadable = mendable(f"{path}: is not a csv file of ratings", (csv.Error, ValueError))
        with unreadable, open(path, encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                where = f"{path}:{line}"
                if not {"pair", "vote"} <= set(row):
                    raise InputError(f"{where}: needs the columns pair and vote, has {', '.join(map(str, row))}")
                vote = {
                    "pair": (row["pair"] or "").zfill(3),
                    "rater": row.get("rater") or Path(path).stem,
                    "vote": (row["vote"] or "").strip(),
                }
                if not vote["vote"]:
                    continue
                if vote["pair"] not in key:
                    raise InputError(f"{where}: pair {shown(vote['pair'])} is not in the key; is it of another export?")
                if vote["vote"] not in CHOICES:
                    raise InputError(f"{where}: vote {shown(vote['vote'])} is not one of {', '.join(CHOICES)}")
                if (cell := (vote["pair"], vote["rater"])) in seen:
                    raise InputError(
                        f"{where}: rater {vote['rater']} also voted on pair {vote['pair']} in {seen[cell]}"
                    )
                seen[cell] = where
                votes.append(vote)
    if not votes:
        raise InputError(f"the files hold no votes: fill in their column vote with one of {', '.join(CHOICES)}")
    return votes


def summarise(
    votes: Sequence[Mapping], key: Mapping[str, Mapping], samples: int = 2000, level: float = 0.95, seed: int = 0
) -> dict:
    """Win rates with intervals and the raters' agreement.

    Returns:
        {"settings": {setting: {"win_rate": share of votes with ties as half, its interval, n pairs}}, "ties": share,
        "votes", "pairs", "raters", "agreement": {"percent", "alpha"}}. A pair's rate is the mean over its raters and
        pairs are resampled. "alpha" is Krippendorff's for nominal data, over the setting that won; None if no pair has
        two raters or all votes are alike.
    """
    winners = [{**vote, "winner": _winner(vote["vote"], key[vote["pair"]])} for vote in votes]
    by_pair: dict[str, list[str]] = {}
    for vote in winners:
        by_pair.setdefault(vote["pair"], []).append(vote["winner"])
    settings = sorted({key[pair][f"{side}_setting"] for pair in by_pair for side in SIDES})
    rates = {}
    for setting in settings:
        shares = [np.mean([_share(w, setting) for w in found]) for pair, found in sorted(by_pair.items())]
        seed_ = seed_for(seed, "human votes", *settings)
        rates[setting] = {"win_rate": statistics.interval(shares, samples=samples, level=level, seed=seed_).as_dict()}
    return {
        "settings": rates,
        "ties": sum(vote["vote"] == "tie" for vote in votes) / len(votes),
        "votes": len(votes),
        "pairs": len(by_pair),
        "raters": len({vote["rater"] for vote in votes}),
        "agreement": agreement(list(by_pair.values())),
    }


def agreement(by_pair: Sequence[Sequence[str]]) -> dict[str, float | None]:
    """Share of agreeing pairs of raters, and Krippendorff's alpha for nominal data (Krippendorff 2011)."""
    shared = [found for found in by_pair if len(found) > 1]
    twos = [a == b for found in shared for a, b in combinations(found, 2)]
    if not twos:
        return {"percent": None, "alpha": None}
    total = Counter(label for found in shared for label in found)
    n = sum(total.values())
    observed = sum(
        sum(a != b for a in found for b in found) / (len(found) - 1) for found in shared
    )  # ordered pairs of differing labels
    expected = (n * n - sum(count * count for count in total.values())) / (n - 1)
    return {"percent": 100 * sum(twos) / len(twos), "alpha": 1 - observed / expected if expected else None}


def _winner(vote: str, sides: Mapping[str, str]) -> str:
    return "tie" if vote == "tie" else sides[f"{vote}_setting"]


def _share(winner: str, setting: str) -> float:
    return 0.5 if winner == "tie" else float(winner == setting)


def _form(pairs: Sequence[dict], question: str) -> str:
    template = Path(__file__).with_name("human_form.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.keep_trailing_newline = True
    # the browser keeps votes under the digest of this form's pairs, so that no other form shows them
    identity = f"{seed_for(json.dumps([dict(pair) for pair in pairs], sort_keys=True)):x}"
    form = environment.from_string(template)
    return form.render(question=question, identity=identity, pairs=pairs, choices=CHOICES)
