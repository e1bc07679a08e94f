"""Publishing is idempotent, survives interruption, and never doubles a cell."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import socket
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.foundation.files import write_json
from autocontrastive_gen.review import mlflow_view, tracking
from autocontrastive_gen.review.records import Point, read_cells
from autocontrastive_gen.review.tracking import TrackingError, publish
from stages import track

CELLS = 7  # train, two generate, score, two benchmark


def publish_all(run) -> dict[str, int]:
    plan, lock = run.plan, read_lock()
    return publish("smoke", plan, lock, read_cells("smoke", plan, lock))


@pytest.fixture
def client():
    return MlflowClient(tracking.tracking_uri())


def stored(filter_string: str = "") -> dict:
    """Runs of the store by the name of their stage; fails if one is there twice."""
    client = MlflowClient(tracking.tracking_uri())
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], filter_string)
    names = [(run.data.tags["dvc.stage"], run.data.tags["cell.key"]) for run in runs]
    assert len(set(names)) == len(names), "a cell is there twice"
    return {run.data.tags["dvc.stage"]: run for run in runs}


def points(run) -> dict[str, list[tuple[int, float]]]:
    client = MlflowClient(tracking.tracking_uri())
    return {
        name: [(item.step, item.value) for item in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def test_every_cell_is_a_nested_run_with_its_content(small_run, client):
    assert publish_all(small_run) == {"created": CELLS + 1, "updated": 0, "unchanged": 0}
    runs = stored()
    parent = runs.pop("pipeline")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *runs.values()]} == {"FINISHED"}

    train = runs["train@tiny"]
    assert train.data.params["learning_rate"] == "0.001"
    assert points(train)["loss/exit2"] == [(0, 5.0), (1, 2.5), (2, pytest.approx(5 / 3, rel=1e-5))]
    for name in ("generate@tiny-greedy-acd", "benchmark@tiny-acd"):
        used = runs[name].data.params
        assert (used["lower"], used["contrast.alpha"]) == ("4", "0.3"), "what was chosen is what it ran with"
    chosen = points(runs["select@tiny"])
    assert chosen["acd/lower"][0][1] == 4 and chosen["acd/alpha"][0][1] == 0.3
    assert chosen["acd/diversity/exit4/alpha 0.3"][0][1] == 0.4 and chosen["acd/diversity/plain"][0][1] == 0.2
    assert train.data.metrics["made-a/perplexity/original"] == 90
    assert train.inputs.dataset_inputs[0].dataset.name == "smoke-text"
    files = {file.path for file in client.list_artifacts(train.info.run_id)}
    assert files == {"curves.csv", "exits.json"}, "weights and files between stages stay with DVC"

    generate = runs["generate@tiny-greedy-acd"]
    assert {"made-a/diversity", "made-a/diversity_low", "made-b/coherence"} <= set(generate.data.metrics)
    domains = [generate.data.metrics[f"made-{name}/diversity"] for name in "ab"]
    assert generate.data.metrics["diversity"] == pytest.approx(sum(domains) / 2, rel=1e-5)
    assert generate.data.metrics["last-word/acc"] == 1, "benchmarks with the same contrast stand in the same row"
    assert generate.data.tags["setting"] == "greedy-acd" and generate.data.tags["profile"] == "smoke"
    table = json.loads(open(client.download_artifacts(generate.info.run_id, "samples.json")).read())
    assert table["columns"] == ["domain", "id", "prompt", "continuation"] and len(table["data"]) == 16

    assert runs["benchmark@tiny-original"].data.metrics == {
        "last-word/acc": pytest.approx(4 / 12, rel=1e-5),
        "last-word/acc_stderr": 0.1,
    }
    assert parent.data.metrics["tiny/greedy-acd/made-a/diversity"] == generate.data.metrics["made-a/diversity"]
    assert parent.data.metrics["tiny/acd/last-word/acc"] == 1
    assert {"index.html", "tables", "plan.json", "dvc.lock", "params.yaml"} <= {
        file.path for file in client.list_artifacts(parent.info.run_id)
    }


def test_names_are_short_and_durations_those_of_the_work(small_run):
    write_json(small_run.paths.cost("generate", "tiny-greedy"), {"wall_s": 75.0})
    write_json(small_run.paths.cost("benchmark", "tiny-acd"), {"wall_s": 5.0})
    publish_all(small_run)
    runs = stored()
    names = {run.info.run_name for name, run in runs.items() if name != "pipeline"}
    assert names == {"train", "select", "greedy", "greedy-acd", "score", "benchmark original", "benchmark acd"}
    for name, seconds in (("generate@tiny-greedy", 75), ("benchmark@tiny-acd", 5), ("pipeline", 80), ("score@tiny", 0)):
        assert runs[name].info.end_time - runs[name].info.start_time == 1000 * seconds, name
    cells = read_cells("smoke", small_run.plan, read_lock())
    assert tracking._name(cells[2], several_models=True) == "tiny greedy"


def test_a_second_publishing_adds_nothing(small_run):
    publish_all(small_run)
    before = {name: (run.info.run_id, points(run)) for name, run in stored().items()}
    assert publish_all(small_run) == {"created": 0, "updated": 0, "unchanged": CELLS + 1}
    assert {name: (run.info.run_id, points(run)) for name, run in stored().items()} == before


def test_the_columns_of_the_table_follow_the_run(small_run, client):
    """The tag holds what MLflow's page reads; a run of many domains and tasks is cut to what the store accepts."""
    publish_all(small_run)
    tag = json.loads(client.get_experiment_by_name("small").tags[mlflow_view.TAG])
    columns = tag["selectedColumns"]
    first = [
        "tags.`dvc.exp`",
        "metrics.`diversity`",
        "metrics.`coherence`",
        "metrics.`mauve`",
        "metrics.`last-word/acc`",
    ]
    assert columns[:5] == first and {"metrics.`made-a/diversity`", "metrics.`made-b/coherence`"} <= set(columns)
    assert tag["searchFilter"] == "tags.`dvc.stage` LIKE 'generate@%'", "a row per setting, not per cell"
    assert not any(name in " ".join(columns) for name in ("_low", "_stderr", "cost/", "loss"))
    cells = read_cells("smoke", small_run.plan, read_lock())
    alone = [dataclasses.replace(cell, benchmarked="") for cell in cells]
    assert json.loads(mlflow_view.shared_view(alone))["searchFilter"] == "tags.setting LIKE '%'"
    many = [dataclasses.replace(cells[2], points=[Point(f"domain-{i}/diversity", 0.5) for i in range(300)])]
    cut = mlflow_view.shared_view(many)
    assert 4900 < len(cut) <= 5000 and "domain-0/" in cut and "domain-299/" not in cut


def test_an_edit_adds_the_changed_cells_and_a_parent_of_its_own(small_run):
    publish_all(small_run)
    small_run.learning_rate = 0.01
    small_run.write()
    assert publish_all(small_run) == {"created": 2, "updated": 0, "unchanged": CELLS - 1}
    client = MlflowClient(tracking.tracking_uri())
    found = {name: client.search_runs(["1"], f"tags.`dvc.stage` = '{name}'") for name in ("pipeline", "train@tiny")}
    assert {name: len(runs) for name, runs in found.items()} == {"pipeline": 2, "train@tiny": 2}
    new_parent, new_train = (found[name][0] for name in found)
    assert new_train.data.tags["mlflow.parentRunId"] == new_parent.info.run_id
    assert new_train.data.params["learning_rate"] == "0.01"


def test_new_scores_of_old_texts_reach_their_run(small_run):
    publish_all(small_run)
    small_run.samples = 2000
    small_run.write()
    count = publish_all(small_run)
    assert count == {"created": 2, "updated": 2, "unchanged": 4}, "parent and score are new, two cells rescored"
    history = points(stored("tags.`dvc.stage` = 'generate@tiny-greedy'")["generate@tiny-greedy"])
    assert len(history["made-a/diversity"]) == 1 and len(history["made-a/diversity_high"]) == 2


def test_a_new_report_replaces_the_old_one_in_place(small_run, client):
    publish_all(small_run)
    small_run.title = "Other title"
    small_run.write()
    assert publish_all(small_run) == {"created": 0, "updated": 1, "unchanged": CELLS}
    page = client.download_artifacts(stored()["pipeline"].info.run_id, "index.html")
    assert "Other title" in open(page).read()


@pytest.mark.parametrize("calls", [0, 1, 4, 9])
def test_an_interrupted_publishing_is_completed(small_run, monkeypatch, calls):
    """Stop after so many calls that write; the next publishing completes the same runs and doubles no point."""
    left = iter(range(calls))

    def stopping(method):
        def call(*args, **kwargs):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return method(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("log_batch", "log_artifact", "log_table", "log_inputs", "set_terminated"):
            patch.setattr(MlflowClient, name, stopping(getattr(MlflowClient, name)))
        with pytest.raises(KeyboardInterrupt):
            publish_all(small_run)
    count = publish_all(small_run)
    assert count["updated"] >= 1 and sum(count.values()) == CELLS + 1
    runs = stored()
    assert len(runs) == CELLS + 1 and {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(points(runs["train@tiny"])["loss/exit2"]) == 3
    generate = runs["generate@tiny-greedy"]
    histories = points(generate)
    assert "made-a/diversity" in histories and all(len(history) == 1 for history in histories.values())


def _publish_in_process(run, barrier):
    barrier.wait()
    publish_all(run)


def test_two_publishings_at_once_do_not_double(small_run):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_publish_in_process, args=(small_run, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(stored()) == CELLS + 1


def test_publishers_of_two_machines_keep_the_same_run(small_run, client):
    """Without a common lock both may create the run; the publisher of the younger one drops it."""
    publish_all(small_run)
    store = tracking._Store(tracking.tracking_uri(), "small")
    find, document = store._find, tracking.Document(key="k", name="n", version="v", tags={"dvc.stage": "s"})
    other = client.create_run(store.experiment, tags={"cell.key": "k", "dvc.stage": "s"}, start_time=1)
    answers = iter([[], None])
    store._find = lambda key: find(key) if next(answers) is None else []
    assert store.find_or_create(document, {}).info.run_id == other.info.run_id
    assert len(client.search_runs([store.experiment], "tags.`cell.key` = 'k'")) == 1


def test_the_command_writes_a_receipt_of_keys_alone(small_run):
    track.main()
    receipt = json.loads(small_run.paths.receipt.read_text())
    assert receipt == {"profile": "smoke", "cells": {name: e.key for name, e in read_lock().items() if "@" in name}}
    small_run.paths.receipt.unlink()
    track.track()
    assert not small_run.paths.receipt.exists()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:{port}", "postgresql://user:secret@127.0.0.1:{port}/mlflow"])
def test_a_dead_server_is_reported_within_seconds_and_nothing_is_lost(small_run, monkeypatch, capsys, uri):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = uri.format(port=free.getsockname()[1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="results are safe") as caught:
        publish_all(small_run)
    assert "secret" not in str(caught.value)
    with pytest.raises(SystemExit) as stop:
        track.main()
    assert stop.value.code == 1 and not small_run.paths.receipt.exists()


def test_errors_of_the_project_end_with_code_2(small_run):
    """Absent results and a half-finished run are for the user to mend: exit code 2 and the name of the stage."""
    from pathlib import Path

    root = Path(track.__file__).parents[1]

    def run_track():
        command = [sys.executable, "-m", "stages.track"]
        environment = {"PYTHONPATH": f"{root}:{root / 'src'}", "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    small_run.paths.metrics("tiny").unlink()
    done = run_track()
    assert done.returncode == 2 and "metrics.json" in done.stderr and "Traceback" not in done.stderr
    small_run.write()
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(lock.replace("score@tiny:", "score@other:"))
    done = run_track()
    assert done.returncode == 2 and "dvc.lock has no score@tiny" in done.stderr
    md5 = read_lock()["generate@tiny-greedy"].outs["runs/smoke/generate/tiny-greedy"]
    Path("dvc.lock").write_text(lock.replace(md5, "0" * 32 + ".dir", 1))
    done = run_track()
    assert done.returncode == 2 and "in another state" in done.stderr


def test_key_depends_on_command_dependencies_and_parameters_alone(small_run):
    before = read_lock()
    small_run.title = "Other"
    small_run.write()
    assert {n: e.key for n, e in read_lock().items() if "@" in n} == {n: e.key for n, e in before.items() if "@" in n}
    small_run.top_p = 0.5
    small_run.write()
    after = read_lock()
    changed = {name for name in after if after[name].key != before[name].key}
    assert changed == {"generate@tiny-greedy", "generate@tiny-greedy-acd", "score@tiny", "report"}


@pytest.mark.parametrize("name", ["damaged.db", "folder"])
def test_a_database_that_cannot_be_opened_is_given_up_within_seconds(tmp_path, monkeypatch, name):
    (tmp_path / "damaged.db").write_text("no database" * 100)
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / name}")
    began = time.monotonic()
    with pytest.raises(TrackingError, match=f"MLflow store sqlite:.*{name}: .*Error"), tracking.store_faults():
        MlflowClient(tracking.tracking_uri()).get_experiment_by_name("small")
    assert time.monotonic() - began < 20


def test_passwords_stand_in_no_message(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    with pytest.raises(TrackingError) as caught, tracking.store_faults():
        raise ValueError("no answer of http://me:secret@127.0.0.1:1/api and http://other:word@host")
    assert "secret" not in str(caught.value) and ":word" not in str(caught.value)
