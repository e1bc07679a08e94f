from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autocontrastive_gen.experiment.params import load_profile, profiles
from autocontrastive_gen.report.claim_rules import read_claims
from autocontrastive_gen.report.paper import (
    NOT_COMPARABLE,
    OUTSIDE,
    REPRODUCED,
    read_deviations,
    read_papers,
)

FOLDER = Path(__file__).resolve().parents[2] / "conf/paper"
SOURCE = {
    "short": "A 2020",
    "title": "T",
    "authors": "A",
    "venue": "V",
    "url": "https://example.org",
    "seen": "table 1",
}
PAPER = {
    "source": SOURCE,
    "tolerances": {
        "diversity": {"value": 0.05, "reason": "r"},
        "perplexity": {"relative": 0.1, "reason": "r"},
    },
    "generation": {"m": {"d": {"greedy": {"diversity": 0.5, "coherence": 0.4, "rep": None}}}},
    "benchmark": {"m": {"t": {"original": {"perplexity": 20.0}, "acd": {"perplexity": 19.0}}}},
}


def written(folder: Path, content: dict, name: str = "made") -> Path:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_the_committed_files_are_valid():
    claims = read_claims(FOLDER)
    assert {claim.kind for claim in claims.claims} == {"raises", "no-loss", "smaller"}
    assert len({claim.id for claim in claims.claims}) == len(claims.claims)
    assert all(deviation.effect for deviation in read_deviations(FOLDER))
    papers = read_papers(None, FOLDER)
    assert [paper.source.short for paper in papers] == ["Chuang et al. 2024", "Gera et al. 2023"]
    assert all(tolerance.reason for paper in papers for tolerance in paper.tolerances.values())
    assert "dvc repro report" in papers[1].source.missing and papers[1].generation == papers[1].benchmark == {}


def test_dola_is_compared_where_its_model_runs():
    dola = read_papers(None, FOLDER)[0]
    assert dola.entries(["smollm2"]) == []
    entries = dola.entries(["gpt2-medium"])
    assert len(entries) == 10 and all(entry[-1] in dola.tolerances for entry in entries)
    assert dola.verdict("benchmark", "gpt2-medium", "factor_news", "dolafactor", "acc", 0.23)["verdict"] == REPRODUCED


def test_profiles_name_papers_that_exist():
    names = [load_profile(profile).report.paper for profile in profiles()]
    assert "gera-2023" in names
    for name in names:
        assert read_papers(name, FOLDER)[0].source.short == ("Gera et al. 2023" if name else "Chuang et al. 2024")


def test_verdicts(tmp_path):
    (paper,) = read_papers("made", written(tmp_path, PAPER))
    where = ("generation", "m", "d", "greedy")
    found = paper.verdict(*where, "diversity", 0.46)
    assert found["verdict"] == REPRODUCED and found["difference"] == pytest.approx(-0.04)
    assert paper.verdict(*where, "diversity", 0.56)["verdict"] == OUTSIDE
    assert paper.verdict(*where, "coherence", 0.4)["verdict"] == NOT_COMPARABLE, "no tolerance was set"
    assert paper.verdict(*where, "rep", 0.4) == {
        "published": None,
        "difference": None,
        "tolerance": None,
        "verdict": NOT_COMPARABLE,
    }
    relative = paper.verdict("benchmark", "m", "t", "original", "perplexity", 21.9)
    assert relative["verdict"] == REPRODUCED and relative["tolerance"] == pytest.approx(2.0)


def test_values_that_are_not_known_are_no_entries(tmp_path):
    (paper,) = read_papers("made", written(tmp_path, PAPER))
    assert {entry[-1] for entry in paper.entries(["m"])} == {"diversity", "coherence", "perplexity"}
    assert paper.entries(["other"]) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tolerances": {"acc": {"value": 0.1, "relative": 0.1, "reason": "r"}}}, "either `value` or `relative`"),
        ({"generaton": {}}, "generaton"),
        ({"source": {**SOURCE, "url": None}}, "source.url"),
    ],
)
def test_faults_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_papers("made", written(tmp_path, PAPER | change))


def test_an_unknown_paper_lists_the_known(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are: made"):
        read_papers("mad", written(tmp_path, PAPER))


@pytest.mark.parametrize(
    "claim, message",
    [
        ({"kind": "no-loss", "decodes": ["greedy"]}, "`margin`"),
        ({"kind": "raises", "decodes": ["greedy"], "margin": 0.1}, "`margin`"),
        ({"kind": "smaller", "decodes": ["greedy"]}, "`than`"),
        ({"kind": "raises"}, "either `decodes` or `tasks`"),
        ({"kind": "raises", "decodes": ["gredy"]}, "greedy"),
    ],
)
def test_claims_that_cannot_be_tested_are_refused(tmp_path, claim, message):
    rules = {"alpha": 0.05, "level": 0.95, "samples": 100, "minimum_n": 4}
    content = {**rules, "claims": [{"id": "c", "statement": "s", "metric": "diversity", **claim}]}
    with pytest.raises(ValueError, match=message):
        read_claims(written(tmp_path, content, "claims"))
