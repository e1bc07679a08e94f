"""Two states side by side: what changed, and metrics with paired intervals."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import read_json, write_json
from autocontrastive_gen.review.compare import Change, compare
from autocontrastive_gen.review.compare_view import page
from autocontrastive_gen.review.records import read_cells
from autocontrastive_gen.review.snapshots import find_state
from autocontrastive_gen.review.tracking import publish, tracking_uri
from stages import compare as command


def publish_as(run, name: str, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("DVC_EXP_NAME", name)
    run.write()
    publish("smoke", run.plan, read_lock(), read_cells("smoke", run.plan, read_lock()))


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory, start_project):
    """Runs `smoke-before` and `smoke-after` in MLflow; the second has other parameters, code and coherence."""
    with pytest.MonkeyPatch.context() as patch:
        run = start_project(tmp_path_factory.mktemp("two"), patch)
        publish_as(run, "before", patch)
        run.top_p, run.shift, run.code = 0.5, 0.25, "x = 2\n"
        publish_as(run, "after", patch)
        yield run


def rows_of(difference) -> dict:
    return {(row.model, row.setting, row.part, row.metric): row for row in difference.metrics}


def test_what_changed_between_two_tracked_runs(two_runs):
    difference = compare(find_state("smoke-before"), find_state("smoke-after"))
    assert difference.params == [Change("decoders.top-p.top_p", "0.95", "0.5")]
    assert [change.what for change in difference.code] == ["src/decode.py"]
    assert difference.data == []
    assert difference.cells["generate@tiny-greedy"] == "parameters: decoder.top_p; inputs: src/decode.py"
    assert "train@tiny" not in difference.cells and "benchmark@tiny-acd" in difference.cells


def test_intervals_are_of_the_paired_differences(two_runs):
    rows = rows_of(compare(find_state("smoke-before"), find_state("smoke-after")))
    row = rows["tiny", "greedy-acd", "made-a", "coherence"]
    assert row.paired.difference.value == pytest.approx(0.25, abs=1e-5)
    assert row.paired.difference.low == pytest.approx(0.25, abs=1e-4), "the same prompts: no spread between them"
    assert row.b - row.a == pytest.approx(0.25, abs=1e-5) and row.paired.difference.n == 8
    assert not rows["tiny", "greedy", "made-a", "coherence"].changed
    assert rows["tiny", "acd", "last-word", "acc"].paired.difference.n == 12
    assert rows["tiny", "exit2", "made-a", "perplexity"].paired is None


def test_no_interval_where_the_documents_do_not_give_the_value(small_run):
    """A metric that is not the mean of its rows must not get the interval of a mean."""
    metrics = read_json(small_run.paths.metrics("tiny"))
    metrics["greedy"]["made-a"]["coherence"]["value"] = 0.5
    write_json(small_run.paths.metrics("tiny"), metrics)
    rows = rows_of(compare(find_state("workspace"), find_state("workspace")))
    assert rows["tiny", "greedy", "made-a", "coherence"].paired is None
    assert rows["tiny", "greedy", "made-b", "coherence"].paired is not None


def test_one_cell_with_another_of_its_stage(two_runs):
    """Contrast against plain, as two runs picked in MLflow: paired by prompt; diversity pools the n-gram counts."""
    client = MlflowClient(tracking_uri())
    ids = [
        client.search_runs(["1"], f"tags.`dvc.stage` = 'generate@tiny-{name}'")[0].info.run_id
        for name in ("greedy", "greedy-acd")
    ]
    rows = rows_of(compare(*map(find_state, ids)))
    assert {key[:3] for key in rows} == {("", "", "made-a"), ("", "", "made-b")}
    by_stage = compare(find_state("generate@tiny-greedy"), find_state("generate@tiny-greedy-acd"))
    assert rows_of(by_stage).keys() == rows.keys() and by_stage.a == "generate@tiny-greedy"
    table = pd.read_csv(two_runs.paths.per_prompt("tiny")).set_index(["setting", "domain"])

    def diversity(setting):
        counts = table.loc[(setting, "made-a")].sum()
        return np.prod([counts[f"unique_{n}"] / counts[f"total_{n}"] for n in (2, 3, 4)])

    def perplexity(setting):
        return np.exp(np.log(table.loc[(setting, "made-a"), "perplexity"]).mean())

    texts = rows["", "", "made-a", "perplexity"]
    assert texts.paired.difference.value == pytest.approx(perplexity("greedy-acd") - perplexity("greedy"), rel=1e-4)
    assert rows["", "", "made-a", "mauve"].paired is None, "kept for the corpus only"
    found = rows["", "", "made-a", "diversity"].paired.difference
    assert found.value == pytest.approx(diversity("greedy-acd") - diversity("greedy"))
    assert found.low < found.value < found.high
    with pytest.raises(ValueError, match="same stage"):
        compare(find_state(ids[0]), find_state("smoke-after"))


def test_the_workspace_with_a_git_revision(small_run, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=u", "-c", "user.email=u@example.org", *arguments], check=True)

    git("init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    git("add", "--all")
    git("commit", "--quiet", "--message", "one")
    git("tag", "before")
    small_run.learning_rate, small_run.code, small_run.settings = 0.5, "x = 2\ny = 3\n", ("greedy",)
    small_run.write()
    difference = compare(find_state("before"), find_state("workspace"))
    assert difference.params == [
        Change("run.settings", '["greedy", "greedy-acd"]', '["greedy"]'),
        Change("train.learning_rate", "0.001", "0.5"),
    ]
    assert "src/decode.py" in difference.code_stat and "2 insertions(+), 1 deletion(-)" in difference.code_stat
    assert difference.cells["generate@tiny-greedy-acd"] == "only in before"
    rows = rows_of(difference)
    assert rows["tiny", "exit2", "made-a", "agreement"].b == 0.5
    gone = rows["tiny", "greedy-acd", "made-a", "coherence"]
    assert gone.b is None and gone.paired is None and gone.changed
    back = compare(find_state("workspace"), find_state("before"))
    assert back.params[1] == Change("train.learning_rate", "0.5", "0.001")
    assert back.code_stat == difference.code_stat


def test_results_that_are_in_no_cache_are_named(small_run, monkeypatch, caplog):
    """A fresh clone has the commit and dvc.lock, but what DVC keeps is neither here nor in a remote."""
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    score = {"matrix": {"model": ["tiny"]}, "cmd": "true", "outs": ["runs/smoke/score/${item.model}"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"score": score}}))
    Path(".gitignore").write_text("runs\n")
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(
        ["git", "-c", "user.name=u", "-c", "user.email=u@example.org", "commit", "--quiet", "-m", "one"], check=True
    )
    for first, second in (("HEAD", "workspace"), ("workspace", "HEAD")):
        with pytest.raises(FileNotFoundError, match="HEAD: .* files of results are not here, such as runs/.*dvc fetch"):
            compare(find_state(first), find_state(second))
    shutil.rmtree(small_run.paths.score("tiny"))
    compare(find_state("workspace"), find_state("workspace"))
    assert "workspace: 2 files of results are not here, such as runs/smoke/score/tiny/" in caplog.text
    shutil.rmtree("runs")
    with pytest.raises(FileNotFoundError, match="workspace: .*`dvc pull` or `dvc repro` brings them"):
        compare(find_state("workspace"), find_state("workspace"))


def test_two_profiles(small_run, monkeypatch):
    publish_as(small_run, "one", monkeypatch)
    small_run.paths = Paths("other")
    with pytest.raises(FileNotFoundError, match="workspace: .*no run of profile other has ended"):
        params = Path("params.yaml").read_text()
        Path("params.yaml").write_text(params.replace("profile: smoke", "profile: other"))
        compare(find_state("smoke-one"), find_state("workspace"))
    small_run.top_p = 0.5
    small_run.write()
    difference = compare(find_state("smoke-one"), find_state("workspace"))
    assert {change.what for change in difference.params} == {"profile", "decoders.top-p.top_p"}
    assert all(row.a is not None and row.b is not None for row in difference.metrics) and difference.metrics


def test_cells_of_other_profiles_in_the_lock_do_not_count(small_run):
    """DVC leaves them there, and their code may be outdated."""
    before = Path("dvc.lock").read_text()
    lock = yaml.safe_load(before)
    stale = dict(lock["stages"]["generate@tiny-greedy"])
    stale["deps"] = [{"path": "src/decode.py", "hash": "md5", "md5": "0" * 32}]
    lock["stages"]["train@other"] = lock["stages"]["zz@tiny"] = stale
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    stale_state = find_state("workspace")
    assert stale_state.lock
    Path("dvc.lock").write_text(before)
    assert compare(find_state("workspace"), stale_state).code == []


class Tags(HTMLParser):
    """Counts the tags and finds those left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.rows = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.rows += tag == "tr"
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_command_prints_tables_and_writes_a_page(two_runs, capsys):
    command.main("smoke-before", "smoke-after", html=Path("out/page.html"))
    printed = capsys.readouterr().out
    assert "decoders.top-p.top_p" in printed and "src/decode.py" in printed
    assert re.search(r"greedy-acd.*made-a.*coherence.*\+0\.25 ", printed)
    assert re.search(r"\d+ metrics are equal in both", printed)
    text = open("out/page.html").read()
    tags = Tags(text)
    assert tags.open == [] and tags.rows > len(compare(find_state("smoke-before"), find_state("smoke-after")).metrics)
    assert "http" not in text, "the page needs no network"
    command.main("smoke-before", "smoke-after", every=True)
    assert "are equal in both" not in capsys.readouterr().out


def test_the_page_escapes_names(two_runs):
    before = find_state("smoke-before")
    before.label = "<script>alert(1)</script>"
    assert "<script>" not in page(compare(before, find_state("smoke-after")))


def test_a_run_is_the_same_as_itself(two_runs):
    difference = compare(find_state("smoke-after"), find_state("workspace"))
    assert difference.params == difference.code == difference.data == [] and difference.cells == {}
    assert not any(row.changed for row in difference.metrics) and len(difference.metrics) > 20


def test_unknown_names_and_unfinished_states_are_reported(small_run):
    with pytest.raises(ValueError, match="did you mean workspace"):
        find_state("workspac")
    Path("dvc.lock").unlink()
    with pytest.raises(FileNotFoundError, match="has no dvc.lock"):
        compare(find_state("workspace"), find_state("workspace"))


def test_an_infinite_perplexity_is_compared_without_an_interval(small_run):
    table = pd.read_csv(small_run.paths.per_prompt("tiny"))
    table.loc[0, "perplexity"] = np.inf
    table.to_csv(small_run.paths.per_prompt("tiny"), index=False)
    scores = read_json(small_run.paths.metrics("tiny"))
    scores["greedy"]["made-a"]["perplexity"] |= {"value": np.inf, "low": None, "high": None}
    write_json(small_run.paths.metrics("tiny"), scores)
    difference = compare(find_state("workspace"), find_state("workspace"))
    row = rows_of(difference)["tiny", "greedy", "made-a", "perplexity"]
    assert row.a == row.b == np.inf and row.paired is None and not row.changed
    assert "<td>∞</td>" in page(difference) and "nan" not in page(difference)
    cells = read_cells("smoke", small_run.plan, read_lock())
    points = {point.name: point.value for cell in cells for point in cell.points if cell.setting == "greedy"}
    assert points["made-a/perplexity"] == sys.float_info.max and "made-a/perplexity_low" not in points
