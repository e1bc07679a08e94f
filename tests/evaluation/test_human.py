"""Human evaluation: pairs are blinded and shuffled, and votes are credited to the right setting."""

import csv
import re

import pytest

from autocontrastive_gen.evaluation.human import agreement, export, make_pairs, read_key, read_votes, summarise
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_json


@pytest.fixture
def texts():
    return {
        name: [
            {"id": f"d{i}", "prompt": f"Beginning {i}", "continuation": f"{word} <b>{i}</b> & more"} for i in range(40)
        ]
        for name, word in (("greedy", "plain"), ("greedy-acd", "contrasted"))
    }


@pytest.fixture
def pairs(texts):
    return make_pairs(texts, "greedy-acd", "greedy", 40, seed=5)


def test_pairs_are_shuffled_and_follow_the_seed(texts, pairs):
    assert pairs == make_pairs(texts, "greedy-acd", "greedy", 40, seed=5)
    assert pairs != make_pairs(texts, "greedy-acd", "greedy", 40, seed=6)
    assert {pair["prompt_id"] for pair in pairs} == {f"d{i}" for i in range(40)}
    assert [pair["prompt_id"] for pair in pairs] != [f"d{i}" for i in range(40)]
    assert 10 < sum(pair["left_setting"] == "greedy" for pair in pairs) < 30
    for pair in pairs:
        for side in ("left", "right"):
            word = {"greedy": "plain", "greedy-acd": "contrasted"}[pair[f"{side}_setting"]]
            assert pair[side].startswith(word) and pair[side].split(">")[1].startswith(pair["prompt_id"][1:])
    with pytest.raises(ValueError, match="41 were requested.*share 40 prompts"):
        make_pairs(texts, "greedy-acd", "greedy", 41, seed=5)


def test_raters_see_no_setting(pairs, tmp_path):
    export(pairs, tmp_path)
    form, table = (tmp_path / "form.html").read_text(), (tmp_path / "pairs.csv").read_text()
    for text in (form, table):
        assert "greedy" not in text and "d13" not in text
    assert form.count('type="radio"') == 120 and "&lt;b&gt;" in form and "{{" not in form
    assert not re.search(r"https?://", form)
    assert set(read_json(tmp_path / "key.json")["001"]) == {"prompt_id", "left_setting", "right_setting"}


def test_a_key_is_never_overwritten_by_other_pairs(texts, pairs, tmp_path):
    for _ in range(2):
        export(pairs, tmp_path)
    before = (tmp_path / "key.json").read_bytes()
    with pytest.raises(ValueError, match=r"key.json is the key of other pairs: name another folder"):
        export(make_pairs(texts, "greedy-acd", "greedy", 40, seed=6), tmp_path)
    with pytest.raises(ValueError, match="no pairs to show"):
        export([], tmp_path)
    assert (tmp_path / "key.json").read_bytes() == before


def vote_for(winner, pair):
    return next((side for side in ("left", "right") if pair[f"{side}_setting"] == winner), "tie")


def test_votes_are_credited_to_their_setting(pairs, tmp_path):
    export(pairs, tmp_path)
    key = read_json(tmp_path / "key.json")
    winners = ["greedy-acd"] * 24 + ["greedy"] * 8 + ["tie"] * 8
    for rater in ("ann", "bob"):
        with open(tmp_path / f"{rater}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["pair", "rater", "vote"])
            writer.writerows([pair["pair"], rater, vote_for(w, pair)] for pair, w in zip(pairs, winners, strict=True))
    filled = (tmp_path / "pairs.csv").read_text().splitlines()
    (tmp_path / "carl.csv").write_text("\n".join([filled[0], filled[1] + "tie", *filled[2:]]))
    votes = read_votes([tmp_path / f"{name}.csv" for name in ("ann", "bob", "carl")], key)
    assert len(votes) == 81 and votes[-1]["rater"] == "carl"
    summary = summarise(votes[:80], key)
    rate = summary["settings"]["greedy-acd"]["win_rate"]
    assert rate["value"] == pytest.approx((24 + 4) / 40)
    assert 0.5 < rate["low"] < rate["value"] < rate["high"] < 0.85 and rate["n"] == 40
    assert summary["settings"]["greedy"]["win_rate"]["value"] == pytest.approx(12 / 40)
    assert (summary["ties"], summary["raters"], summary["pairs"]) == (0.2, 2, 40)
    assert summary["agreement"] == {"percent": 100.0, "alpha": 1.0}


def test_agreement_is_krippendorffs_alpha():
    # worked by hand: labels a a | a b | b b: coincidences aa 2, ab 1, ba 1, bb 2; alpha = 1 - 5 * 2 / (2 * 3 * 3)
    found = agreement([["a", "a"], ["a", "b"], ["b", "b"], ["a"]])
    assert found == {"percent": pytest.approx(200 / 3), "alpha": pytest.approx(1 - 5 * 2 / 18)}
    assert agreement([["a"], ["b"]]) == {"percent": None, "alpha": None}
    assert agreement([["a", "a"]])["alpha"] is None


@pytest.mark.parametrize(
    "lines, message",
    [
        (["pair,vote", "999,left"], "2: pair '999' is not in the key"),
        (["pair,vote", "001,both"], "2: vote 'both' is not one of left, right, tie"),
        (["pair,vote", "001,left", "001,tie"], "3: rater r also voted on pair 001 in .*:2"),
        (["pair,answer", "001,left"], "needs the columns pair and vote"),
        (["pair,vote", "001,"], "no votes"),
        (["pair,vote", f"001,{'x' * 200_000}"], "r.csv: is not a csv file of ratings: field larger than field limit"),
        (["pair,vote", f"001,{'x' * 100_000}"], "2: vote 'xxxx.* is not one of left, right, tie"),
        (["pair,vote", "001,\udcff"], "r.csv: is not a csv file of ratings: .*utf-8"),
    ],
)
def test_faulty_ratings_are_named(pairs, tmp_path, lines, message):
    export(pairs, tmp_path)
    (tmp_path / "r.csv").write_text("\n".join(lines), errors="surrogateescape")
    with pytest.raises(InputError, match=message):
        read_votes([tmp_path / "r.csv"], read_json(tmp_path / "key.json"))


@pytest.mark.parametrize("content", ["[]", '{"001": 3}', '{"001": {"prompt_id": "a"}}', '{"summary": {}}', "{"])
def test_another_file_is_no_key(tmp_path, content):
    (tmp_path / "key.json").write_text(content)
    with pytest.raises(InputError, match="key.json: is not"):
        read_key(tmp_path / "key.json")


def test_no_text_is_a_formula_of_a_spreadsheet(pairs, tmp_path):
    texts = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "a=1"]
    export([pair | {"left": text} for pair, text in zip(pairs, texts, strict=False)], tmp_path)
    with open(tmp_path / "pairs.csv", newline="") as file:
        shown = [row["left"] for row in csv.DictReader(file)]
    assert shown == [*(f"'{text}" for text in texts[:5]), "a=1"]
