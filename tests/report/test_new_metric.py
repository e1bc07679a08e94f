"""A metric added as one file is scored, and stands in every table, figure and file of the report."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from autocontrastive_gen.evaluation.metrics import HUMAN
from autocontrastive_gen.evaluation.text_scores import aggregate, score_table
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import read_json, read_jsonl, write_csv, write_json
from autocontrastive_gen.report.claim_rules import Claims
from autocontrastive_gen.report.render import write_report
from tests.report.conftest import PLAN


def score_again(paths: Paths) -> None:
    """What the score stage does, with the texts of the made run."""
    texts = {(s, d): read_jsonl(paths.texts("made", s, d)) for d in PLAN["domains"] for s in PLAN["settings"]}
    for domain in PLAN["domains"]:
        rows = read_jsonl(paths.prompts(domain))
        texts[HUMAN, domain] = [
            {"id": row["id"], "prompt": row["prompt"], "continuation": row["human"], "tokens": [0], "nll": 1.0}
            for row in rows
        ]
    options = {"bootstrap": PLAN["bootstrap"], "seed": 7, "text_perplexity": True}
    encoder = SimpleNamespace(encode=lambda texts, **_: np.array([[1.0, len(text)] for text in texts]))
    table = score_table(texts, SimpleNamespace(options=options, encoder=encoder))
    write_csv(paths.per_prompt("made"), list(table.columns), table.to_dict("records"))
    write_json(paths.metrics("made"), aggregate(table, {}, options))


def test_a_metric_in_one_file_is_in_the_whole_report(made_run, vowels):
    score_again(made_run)
    write_report(made_run, PLAN)
    texts = read_jsonl(made_run.texts("made", "greedy", "open"))
    shares = [sum(row["continuation"].count(vowel) for vowel in "aeiou") / len(row["continuation"]) for row in texts]
    expected = sum(shares) / len(shares)
    with open(made_run.reports / "tables/quality.csv", newline="") as file:
        quality = {row["cell"]: row for row in csv.DictReader(file)}
    row = quality["made open greedy"]
    assert float(row["vowels"]) == pytest.approx(expected, rel=1e-4)
    assert float(row["vowels_low"]) < expected < float(row["vowels_high"])
    assert read_json(made_run.reports / "metrics.json")["quality/made/greedy/open/vowels"] == pytest.approx(expected)
    with open(made_run.reports / "tables/gains.csv", newline="") as file:
        gains = list(csv.DictReader(file))
    assert gains and all(row["vowels"] and row["vowels_p"] for row in gains)
    assert "Gain in vowels" in (made_run.reports / "tables/gains.md").read_text()
    page = (made_run.reports / "index.html").read_text()
    assert "Vowels: share of vowels" in page and "diversity, coherence and vowels of text" in page
    assert "Vowels (0–1)" in (made_run.reports / "figures/quality-made.svg").read_text()


def test_a_claim_may_name_it(vowels):
    rules = {"alpha": 0.05, "level": 0.95, "samples": 200, "minimum_n": 2}
    claim = {"id": "a", "statement": "s", "kind": "raises", "metric": vowels, "decodes": ["greedy"]}
    assert Claims.model_validate(rules | {"claims": [claim]}).claims[0].declaration.title == "Vowels"


def test_a_claim_on_an_undeclared_metric_names_those_that_there_are():
    claim = {"id": "a", "statement": "s", "kind": "raises", "metric": "vowels", "decodes": ["greedy"]}
    with pytest.raises(ValueError, match="no metric 'vowels'; there are: diversity, coherence"):
        Claims.model_validate({"alpha": 0.05, "level": 0.95, "samples": 200, "minimum_n": 2, "claims": [claim]})
