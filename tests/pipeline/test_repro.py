"""The smoke profile through DVC: what runs, what does not run again, and what comes out."""

import csv
import json
import os
import shutil
import signal
import time
from itertools import zip_longest

import pytest
import yaml

from tests.pipeline.conftest import Clone

GENERATE = ["generate@tiny-greedy", "generate@tiny-greedy-acd"]
BENCHMARK = ["benchmark@tiny-original", "benchmark@tiny-acd"]
AFTER = ["score@tiny", "report", "track"]


def test_every_stage_runs_once(finished):
    _, stages = finished
    assert sorted(stages) == sorted(
        ["fetch", "prepare", "train@tiny", "select@tiny", *GENERATE, *BENCHMARK, "analyse@tiny", *AFTER]
    )


def test_the_second_run_runs_nothing(clone):
    before = clone.results()
    assert clone.repro() == []
    assert clone.results() == before


def test_an_edited_setting_runs_its_cells_again_and_back_gives_the_same_bytes(clone):
    before = clone.results()
    clone.edit("method: acd, alpha: 0.1", "method: acd, alpha: 0.5")
    ran = clone.repro()
    assert sorted(ran) == sorted(["fetch", "select@tiny", "generate@tiny-greedy-acd", "benchmark@tiny-acd", *AFTER])
    clone.edit("method: acd, alpha: 0.5", "method: acd, alpha: 0.1")
    clone.repro()
    assert clone.results() == before


@pytest.mark.slow
def test_a_choice_runs_cells_again_only_if_another_value_comes_out(clone):
    clone.edit("acd: {method: acd, alpha: 0.1}", "acd: {method: acd, choose: {alpha: [0.1, 0.3, 0.9]}}")
    clone.repro()
    resolved = clone.folder / "runs/smoke/select/tiny/settings/greedy-acd.json"
    alpha = json.loads(resolved.read_text())["contrast"]["alpha"]
    other = next(each for each in (0.1, 0.3, 0.9) if each != alpha)
    assert f"alpha {alpha} (chosen from 0.1, 0.3, 0.9" in (clone.folder / "reports/smoke/tables/methods.md").read_text()
    clone.edit("alpha: [0.1, 0.3, 0.9]", f"alpha: [{other}, {alpha}]")
    unchanged = ["fetch", "select@tiny", "report", "track"]
    assert clone.repro() == unchanged, "the same value comes out"
    clone.edit(f"choose: {{alpha: [{other}, {alpha}]}}", f"alpha: {alpha}")
    assert clone.repro() == unchanged, "it runs with the same value"
    clone.edit(f"alpha: {alpha}}}", "alpha: 0.05}")  # a value whose results DVC has not seen
    assert {"generate@tiny-greedy-acd", "benchmark@tiny-acd"} <= set(clone.repro())


@pytest.mark.slow
def test_benchmarks_choose_their_layer_on_validation_items(clone):
    clone.edit("benchmark_validation_items: {}", "benchmark_validation_items: {last-word: 6}")
    clone.edit("benchmark_tasks: []", "benchmark_tasks: [last-word]")
    ran, expected = set(clone.repro("report")), {"fetch", "prepare", "select@tiny", "report"}
    assert expected <= ran <= {*expected, "train@tiny", *GENERATE, *BENCHMARK, "analyse@tiny", *AFTER}
    select = clone.folder / "runs/smoke/select/tiny"
    texts, items = (json.loads((select / f"{name}.json").read_text()) for name in ("selection", "benchmark-selection"))
    resolved = {name: json.loads((select / f"settings/{name}.json").read_text()) for name in ("greedy-acd", "acd")}
    assert resolved["greedy-acd"]["lower"] == texts["acd"]["chosen"]["lower"]
    assert resolved["acd"]["lower"] == items["acd"]["chosen"]["lower"]
    assert [each["lower"] for each in items["acd"]["candidates"]] == [2, 4]
    table = (clone.folder / "reports/smoke/tables/selection.md").read_text()
    assert "Chosen for texts" in table and "Chosen for benchmarks" in table and "validation items of last-word" in table
    metrics = json.loads((clone.folder / "reports/smoke/metrics.json").read_text())
    assert "benchmark-lower/tiny/acd" in json.dumps(metrics)


def test_results_hold_every_cell(finished):
    folder = finished[0].folder
    metrics = json.loads((folder / "reports/smoke/metrics.json").read_text())
    assert metrics
    for setting in ("greedy", "greedy-acd"):
        for domain in ("made-a", "made-b"):
            lines = (folder / f"runs/smoke/generate/tiny-{setting}/{domain}.jsonl").read_text().splitlines()
            assert len(lines) == 3 and all(json.loads(line)["continuation"] for line in lines)
    with open(folder / "runs/smoke/score/tiny/per_prompt.csv") as file:
        assert {row["setting"] for row in csv.DictReader(file)} == {"human", "greedy", "greedy-acd"}
    assert "</html>" in (page := (folder / "reports/smoke/index.html").read_text()) and 'href="lens.html"' in page
    assert '"kind":"contrast"' in (folder / "reports/smoke/lens.html").read_text()


def test_outputs_carry_no_paths_of_this_machine(finished):
    folder = finished[0].folder
    for file in [*folder.glob("runs/smoke/**/*.json*"), *folder.glob("reports/smoke/tables/*")]:
        assert str(folder) not in file.read_text(), file


@pytest.mark.slow
def test_training_parameters_leave_plain_settings_alone(clone):
    clone.edit("learning_rate: 0.001", "learning_rate: 0.01")
    assert clone.repro("select@tiny") == ["fetch", "train@tiny", "select@tiny"]
    changed = clone.changed()
    assert {"generate@tiny-greedy-acd", "benchmark@tiny-acd"} <= changed
    assert "generate@tiny-greedy" not in changed and "benchmark@tiny-original" not in changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        (("params.yaml", "coherence_margin: 0.02", "coherence_margin: 0.5"), {"fetch"}),
        (
            ("src/autocontrastive_gen/generation/batches.py", "", "\n# an edit\n"),
            {"select@tiny", "generate", "score@tiny"},
        ),
        (("src/autocontrastive_gen/evaluation/encoders.py", "", "\n# an edit\n"), {"select@tiny", "score@tiny"}),
    ],
    ids=["rule", "decoding", "encoder"],
)
def test_what_chooses_layers_trains_nothing(clone, edit, stages):
    file, old, new = edit
    if old:
        clone.edit(old, new)
    else:
        path = clone.folder / file
        path.write_text(path.read_text() + new)
    changed = clone.changed()
    assert stages <= changed | {name.partition("@")[0] for name in changed}
    assert "train@tiny" not in changed
    if old:
        ran = clone.repro()
        assert "select@tiny" in ran and "train@tiny" not in ran


OWN = """
import torch

from helper_of_mine import SIGN


def contrast(upper, lower, strength=1.0):
    return torch.log_softmax(upper.float() + SIGN * strength * lower.float(), -1)
"""


@pytest.mark.slow
def test_a_function_of_ones_own_enters_a_run_and_its_edits_run_its_cells_alone(clone):
    (clone.folder / "mine.py").write_text(OWN)
    (clone.folder / "helper_of_mine.py").write_text("SIGN = -1\n")
    clone.edit("contrasts:\n", "contrasts:\n  mine: {method: 'mine:contrast', strength: 0.5}\n")
    clone.edit("settings: [greedy, greedy-acd]\n", "settings: [greedy, greedy-acd, greedy-mine4]\n")
    clone.edit("benchmark_settings: [original, acd]", "benchmark_settings: [original, acd, mine4]")
    own = ["generate@tiny-greedy-mine4", "benchmark@tiny-mine4"]
    always = ["fetch", "select@tiny", "score@tiny", "report", "track"]
    assert sorted(clone.repro()) == sorted([*always, *own])
    assert clone.repro() == []
    texts = clone.folder / "runs/smoke/generate/tiny-greedy-mine4/made-a.jsonl"
    first = texts.read_text()
    (clone.folder / "helper_of_mine.py").write_text("SIGN = 1\n")
    assert "fetch" in clone.run("dvc", "status")
    assert sorted(clone.repro()) == sorted([*always, *own])
    assert texts.read_text() != first, "another function of the same name gives its own texts"
    clone.edit("strength: 0.5", "strngth: 0.5")
    refused = clone.run("dvc", "repro", code=None)
    assert "has no parameter 'strngth'; it takes strength" in refused and "Traceback" not in refused


@pytest.mark.slow
def test_every_decoder_and_contrast_runs_the_whole_pipeline(clone):
    catalogues = yaml.safe_load((clone.folder / "conf/base.yaml").read_text())
    contrasts = list(catalogues["contrasts"])
    decoders = list(catalogues["decoders"])
    pairs = zip_longest(decoders, contrasts, fillvalue="acd")  # test_decoders_under_stress.py decodes with all
    settings = ["greedy", "beam-dola", *(f"{decoder}-{contrast}" for decoder, contrast in pairs)]
    assert len(decoders) >= len(contrasts)
    clone.edit("settings: [greedy, greedy-acd]\n", f"settings: [{', '.join(settings)}]\n")
    clone.edit("benchmark_settings: [original, acd]", f"benchmark_settings: [original, exit4, {', '.join(contrasts)}]")
    clone.repro()
    quality = (clone.folder / "reports/smoke/tables/quality.csv").read_text()
    assert all(f' {name}"' in quality or f" {name}," in quality for name in settings)
    page = (clone.folder / "reports/smoke/index.html").read_text()
    assert "not run" not in quality and all(name in page for name in settings)
    assert len(list((clone.folder / "runs/smoke/benchmark").iterdir())) == len(contrasts) + 2


@pytest.mark.slow
def test_two_runs_from_scratch_give_the_same_bytes(finished, fresh):
    Clone(fresh.folder).repro()  # with a user's own commands
    assert fresh.results() == finished[0].results()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive)])
def test_an_interrupted_run_continues_where_it_stopped(clone, finished, kind):
    shutil.rmtree(clone.folder / ".dvc/cache/runs")
    clone.edit("generate:\n  # Tokens per continuation.\n  new_tokens: 8", "generate:\n  new_tokens: 9")
    process = Clone(clone.folder).start("dvc", "repro", start_new_session=True)
    seen = ""
    for line in process.stdout:
        seen += line
        if "Running stage 'generate@tiny-greedy-acd'" in line:
            time.sleep(1)
            os.killpg(process.pid, kind)
    assert process.wait() != 0 and "Traceback" not in seen
    ran = clone.repro()
    assert "generate@tiny-greedy" not in ran and "generate@tiny-greedy-acd" in ran
    assert clone.repro() == []


@pytest.mark.slow
def test_a_zip_without_git_works(finished, tmp_path):
    clone = Clone(tmp_path / "zip")
    shutil.copytree(finished[0].folder, clone.folder, ignore=shutil.ignore_patterns(".git"))
    clone.run("dvc", "config", "--local", "core.no_scm", "true")
    assert clone.repro() == []


def test_metrics_and_plots_are_declared(finished):
    clone, _ = finished
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json"))
    assert shown[""]["data"]["reports/smoke/metrics.json"]["data"]
    assert "generate@tiny-greedy-acd" in clone.run("dvc", "dag", "--dot")
    plots = json.loads(clone.run("dvc", "plots", "show", "--json"))
    assert not plots.get("errors")
    for name, measured in (("Training", "loss"), ("Validation", "validation_perplexity")):
        curve = plots["data"][name][0]["content"]
        assert {row["layer"] for row in curve["data"]["values"] if row[measured]} == {"2", "4"}
        assert curve["encoding"]["color"]["field"] == "layer" and curve["encoding"]["y"]["field"] == measured


def test_an_edit_that_changes_no_result_runs_only_fetch(clone):
    clone.edit('launcher: ""', 'launcher: "env"')
    assert clone.repro() == ["fetch"]
