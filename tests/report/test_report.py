"""The whole report of a made-up run: its files, their bytes, what it must and must not show."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from autocontrastive_gen.foundation.files import read_json, write_json
from autocontrastive_gen.report import origin, render
from autocontrastive_gen.report.claim_rules import read_claims
from autocontrastive_gen.report.figures import all_figures
from autocontrastive_gen.report.findings import Findings
from autocontrastive_gen.report.paper import NOT_RUN, Paper
from autocontrastive_gen.report.render import write_report
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Table
from autocontrastive_gen.report.tables import all_tables
from autocontrastive_gen.report.text_tables import quality_table
from stages import report as stage
from tests.report.conftest import BENCHMARKS, PLAN, ROOT, SECRET, write_run
from tests.report.test_paper import PAPER

GOLDEN = Path(__file__).parent / "golden"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written_tables(results: Results, *papers: Paper) -> dict[str, list[dict]]:
    """Rows of every csv."""
    tables = all_tables(results, list(papers), Findings.of(results, read_claims()))
    return {table.name: list(csv.DictReader(io.StringIO(table.csv()))) for table in tables}


def test_tables_are_the_golden_ones(report):
    """After an intended change, run UPDATE_GOLDEN=1 pytest tests/report and read the diff."""
    made = {path.name: path.read_text() for path in sorted((report / "tables").glob("*.md"))}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        for name, text in made.items():
            (GOLDEN / name).write_text(text)
    assert made == {path.name: path.read_text() for path in sorted(GOLDEN.glob("*.md"))}


def test_the_model_behind_mauve_is_named_where_mauve_is_shown(results):
    assert "MAUVE" not in quality_table(results).note
    for domain in results.quality["made"]["greedy"].values():
        domain["mauve"] = domain["diversity"]
    assert quality_table(results).note.endswith("Features of MAUVE: last states of the model itself.")
    results.plan = PLAN | {"mauve_asset": "gpt2-large"}
    assert quality_table(results).note.endswith("Features of MAUVE: last states of gpt2-large.")


@pytest.mark.slow
def test_a_rerun_in_another_process_writes_the_same_bytes(report):
    before = everything(report)
    kinds = [name.rpartition(".")[2] for name in before if name.startswith("figures/")]
    assert kinds.count("svg") == kinds.count("png") == 6
    code = "from tests.report.conftest import PLAN, Paths, write_report; write_report(Paths('golden'), PLAN)"
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "11", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=report.parents[1])
    assert everything(report) == before


def test_no_text_without_a_licence_is_shown(report):
    for name, content in everything(report).items():
        assert SECRET.encode() not in content, name
    page = (report / "index.html").read_text()
    assert "No text of the domain <b>Closed</b> is shown" in page
    assert "&lt;b&gt;north&lt;/b&gt;" in page and "<b>north</b>" not in page


class Page(HTMLParser):
    """What a page loads, its ids and references, and the structure that a screen reader needs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads, self.ids, self.links, self.stack, self.headings, self.unnamed = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        got = dict(attributes)
        self.loads += [got[key] for key in ("src", "srcset", "data") if key in got]
        self.loads += [got["href"]] if tag == "link" else []
        self.links += [got["href"]] if tag == "a" else []
        self.ids += [got["id"]] if "id" in got else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if tag in ("svg", "path", "g", "use") or tag in ("meta", "input", "br", "link"):
            return
        if got.get("role") in ("region", "img") and not got.get("aria-label"):
            self.unnamed.append((tag, attributes))


def test_the_page_is_one_file_with_sound_links(report):
    text = (report / "index.html").read_text()
    page = Page(text)
    assert page.loads == []
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids)), "ids of inline figures must not clash"
    assert len(page.links) > 10
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert (report / link).exists(), link
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)
    assert page.headings[0] == 1 and page.headings.count(1) == 1 and not page.unnamed
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_changed_tokens_say_what_each_exit_wanted(report):
    page = (report / "index.html").read_text()
    marks = re.findall(r'<mark role="button" tabindex="0" data-u="([^"]*)" data-l="([^"]*)" data-p="([^"]*)">', page)
    assert len(marks) == 4 * 3 * 2, "four contrast settings, three examples, two changes each"
    assert set(marks) == {(" the", " of", "0.5 0.4 0.3 0.1")}


def test_numbers_name_file_stage_digest_and_commit(made_run):
    cell = "score@made"
    outs = [{"path": "runs/golden/score/made", "md5": "feed.dir"}]
    deps = [{"path": path, "md5": "1"} for path in ("src/x.py", "runs/golden/generate")]
    upstream = [{"path": "runs/golden/generate/made-greedy", "md5": "2"}]
    stages = {
        cell: {"cmd": "c", "deps": deps, "outs": outs},
        "generate@made-greedy": {"cmd": "g", "deps": [{"path": "src/y.py", "md5": "3"}], "outs": upstream},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    Path("src").mkdir()
    Path("src/x.py").write_text("x = 1\n")
    Path("src/y.py").write_text("y = 1\n")
    commit = "git -c user.name=a -c user.email=a@b commit -qm"
    steps = (
        "git add src/x.py",
        f"{commit} Scores",
        "git add src/y.py",
        f"{commit} Texts",
        "git add conf",
        f"{commit} Z",
    )
    for command in ("git init -q", *steps):
        subprocess.run(command.split(), check=True)
    origin.last_commit.cache_clear()
    origins = origin.Origins()
    for _ in range(2):
        assert origins.index("runs/golden/score/made/metrics.json", cell) == 0
    assert origins.index("runs/golden/benchmark/made-acd/items.csv", "benchmark@made-acd") == 1
    found, absent = origins.all
    assert found.md5 == "feed.dir" and found.cell == cell and found.commit.endswith(" Texts")
    assert absent.md5 == absent.commit == "", "a cell that dvc.lock does not know"
    origin.last_commit.cache_clear()


def test_every_number_of_the_page_has_an_origin(report):
    page = (report / "index.html").read_text()
    origins = json.loads(re.search(r'id="origins">(.*?)</script>', page, re.S).group(1))
    numbers = re.findall(r'<button type="button" class="num" data-o="(\d*)"', page)
    assert len(numbers) > 200 and all(numbers), "each number names its file and stage"
    assert {int(number) for number in numbers} == set(range(len(origins)))
    assert {entry["cell"] for entry in origins} >= {"score@made", "train@made", "benchmark@made-acd"}


def test_a_table_that_the_page_has_no_place_for_follows_the_benchmarks(made_run, monkeypatch):
    extra = Table("extra", "A table of one's own", [Column("what", "What")], [{"what": "made for a test"}])
    monkeypatch.setattr(render, "all_tables", lambda *args: [*all_tables(*args), extra])
    write_report(made_run, PLAN)
    page = (made_run.reports / "index.html").read_text()
    assert page.count("A table of one&#39;s own</h3>") == 1 and page.count(">made for a test<") == 1
    assert page.count('id="table-claims"') == 1
    assert (made_run.reports / "tables/extra.csv").exists()


def test_cells_that_did_not_run_are_named(made_run, results):
    made_run.results("made", "acd").unlink()
    scores = read_json(made_run.metrics("made"))
    del scores["beam-acd"]["open"]
    write_json(made_run.metrics("made"), scores)
    tables = written_tables(results)
    assert results.missing == [made_run.results("made", "acd").as_posix()]
    skipped = [(row["domain"], row["setting"]) for row in tables["quality"] if row["status"] == NOT_RUN]
    assert skipped == [("Open", "beam-acd")]
    assert [row["setting"] for row in tables["benchmark"] if row["status"] == NOT_RUN] == ["acd"]


def test_a_run_without_any_result_still_renders(made_run):
    shutil.rmtree(made_run.runs)
    write_report(made_run, PLAN)
    assert "not run" in (made_run.reports / "tables/quality.md").read_text()
    assert read_json(made_run.reports / "metrics.json") == {}
    page = (made_run.reports / "index.html").read_text()
    assert "runs/golden/benchmark/made-acd/results.json" in page, "absent files are named"


def test_cells_of_other_runs_are_ignored_and_named(made_run, results):
    before = written_tables(results)
    write_json(made_run.results("made", "acd6"), {"last-word": {"acc": {"value": 0.9, "stderr": 0.1, "n": 4}}})
    again = Results(made_run, PLAN)
    assert written_tables(again) == before
    assert again.strangers == ["runs/golden/benchmark/made-acd6"]


def test_metrics_are_flat_numbers(report):
    metrics = read_json(report / "metrics.json")
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert metrics["quality/made/greedy-acd/open/diversity"] == pytest.approx(0.55)
    assert metrics["benchmark/made/acd/last-word/acc"] == pytest.approx(0.475)
    assert metrics["exits/made/4/closed/perplexity"] == 450 and metrics["lower/made/acd"] == 6


def test_published_values_beside_ours(results):
    generation = {"made": {"open": {"greedy": {"diversity": 0.32}, "top-k": {"diversity": 0.9}}}}
    benchmark = {"made": {"last-word": {"acd": {"perplexity": 50.0}}}}
    paper = Paper.model_validate({**PAPER, "generation": generation, "benchmark": benchmark})
    rows = written_tables(results, paper)["published"]
    found = {(row["where"], row["setting"], row["metric"]): (row["published"], row["verdict"]) for row in rows}
    assert found["Open", "greedy", "diversity"] == ("0.32", "reproduced")
    assert found["last-word", "acd", "perplexity"] == ("50.0", "outside")
    assert found["Open", "top-k", "diversity"] == ("0.9", "not run")
    assert len(rows) == 3, "values of ours that nobody published have no row"


def test_two_models_are_kept_apart(made_run):
    plan = {**PLAN, "models": {"made": PLAN["models"]["made"], "other": {**PLAN["models"]["made"], "lower": "halfway"}}}
    results = Results(write_run("both", plan), plan)
    assert {row["model"] for row in written_tables(results)["quality"]} == {"made", "other"}
    assert results.selection.keys() == {"made"}, "the other model's layer was not chosen"


def test_training_curves_are_written_for_plots(report):
    rows = list(csv.DictReader(open(report / "tables/training.csv")))
    assert [row["layer"] for row in rows[:2]] == ["4", "6"] and float(rows[0]["validation_perplexity"]) == 400
    assert not (report / "tables/training.md").exists()


def test_each_accuracy_has_a_name_for_plots(report):
    rows = list(csv.DictReader(open(report / "tables/accuracy.csv")))
    assert [row["cell"] for row in rows] == [f"made last-word acc {name}" for name in BENCHMARKS]
    assert float(rows[2]["accuracy_low"]) < float(rows[2]["accuracy"]) == pytest.approx(0.475)


def test_cost_adds_up(report):
    cost = read_json(report / "cost.json")
    assert cost["total"]["wall_s"] == pytest.approx(2.5 * len(cost["cells"]))
    assert [row["stage"] for row in cost["stages"]] == [
        "fetch",
        "prepare",
        "train",
        "select",
        "generate",
        "score",
        "benchmark",
        "analyse",
    ]
    assert "| generate | 11 | 27.5 s | 44.0 s | 1.50 GiB | – | cpu |" in (report / "cost.md").read_text()


def test_the_stage_renders_the_report_of_the_profile(made_run, monkeypatch, report):
    Path("params.yaml").write_text("profile: golden\n")
    monkeypatch.setattr(sys, "argv", ["report"])
    stage.main()
    assert everything(made_run.reports).keys() == everything(report).keys()
    assert (made_run.reports / "metrics.json").read_bytes() == (report / "metrics.json").read_bytes()


def test_deviations_of_the_run_are_listed(report):
    page = (report / "index.html").read_text()
    assert "Prompts of Open begin at a paragraph drawn from a document" in page
    assert "random weights" in page and "Continuations of 24 tokens" in page


def test_an_edited_profile_is_named(report):
    banner = "differ from the profile <b>golden</b>: generate.new_tokens: 24 (profile: 100), "
    assert banner in (report / "index.html").read_text()


def test_a_curve_of_two_points_is_not_drawn(results):
    tables = {table.name: table for table in all_tables(results, (), Findings.of(results, read_claims()))}
    curve, first = results.curves["made"], results.curves["made"]["step"] == 1

    def drawn() -> list[str]:
        return [figure.svg for figure in all_figures(results, tables) if figure.name == "training-made"]

    curve.loc[first, "validation_perplexity"] = None
    (svg,) = drawn()
    assert "Training loss" in svg and "Validation perplexity" not in svg
    curve.loc[first, "loss"] = None
    assert drawn() == []
