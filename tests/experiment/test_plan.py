import sys

import pytest

from autocontrastive_gen.experiment.lock import parse_lock
from autocontrastive_gen.experiment.params import check, load_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import build, edited, write_plan
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.errors import InputError


def content_of(name: str) -> dict:
    return load_profile(name).model_dump(mode="json")


def entries(content, stage):
    return build(check(content, "params.yaml"))[stage]


def changed(path, value, content=None):
    """Cells whose entry of the plan an edit of the laptop profile changes."""
    content = content or content_of("laptop")
    before = build(check(content, ""))
    section = content
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    after = build(check(content, ""))
    cells = set()
    for stage, entry in before.items():
        if stage in ("generate", "benchmark"):
            settings = {key for model in entry for key in entry[model] if entry[model][key] != after[stage][model][key]}
            cells |= {f"{stage}@{key}" for key in settings}
        elif entry != after[stage]:
            cells.add(stage)
    return cells


def test_an_edit_touches_only_the_cells_that_use_it():
    assert changed(("decoders", "top-p", "top_p"), 0.9) == {"generate@top-p", "generate@top-p-acd", "report"}
    assert changed(("contrasts", "acd", "alpha"), 0.2) == {"select", "report"}, "select hands it on"
    assert changed(("train", "learning_rate"), 0.01) == {"train", "report"}
    assert changed(("select", "coherence_margin"), 0.1) == {"select", "report"}
    assert changed(("models", "smollm2", "lower"), 25) == {"select", "report"}
    assert changed(("launcher",), "accelerate launch") == set()
    assert changed(("assets", "smollm2", "note"), "another") == set()


def test_an_entry_that_no_setting_uses_changes_nothing():
    content = content_of("laptop")
    content["contrasts"]["unused"] = {"method": "acd", "alpha": 0.5}
    assert changed(("contrasts", "unused", "alpha"), 0.7, content) == set()


def test_entries_hold_decoder_and_contrast_in_full():
    decoder = entries(content_of("laptop"), "generate")["smollm2"]["top-p-acd"]["decoder"]
    assert decoder == {"method": "top-p", "top_p": 0.95} | decoder
    assert {"repetition_penalty", "no_repeat_ngram_size"} <= set(decoder)
    contrast = entries(content_of("laptop"), "select")["smollm2"]["contrasts"]["acd"]
    assert contrast == {"method": "acd", "alpha": 0.1, "minimum_candidates": 1, "temperature": 1.0}


def test_what_is_chosen_stands_apart_from_what_is_fixed():
    content = content_of("laptop")
    content["contrasts"]["acd"] = {
        "method": "acd",
        "choose": {"alpha": ["0.05", 0.1, 0.3], "minimum_candidates": [1, 2]},
    }
    before = build(check(content, ""))
    values = {"alpha": [0.05, 0.1, 0.3], "minimum_candidates": [1, 2]}
    assert before["select"]["smollm2"]["contrasts"]["acd"] == {"method": "acd", "temperature": 1.0, "choose": values}
    assert changed(("contrasts", "acd", "choose", "alpha"), [0.1, 0.3], content) == {"select", "report"}


FUNCTION = """
import torch
def f(upper, lower, strength=1.0):
    return torch.log_softmax(upper.float() - strength * lower.float(), -1)
"""


@pytest.fixture
def own(tmp_path, monkeypatch, project):
    """The smoke profile with a contrast function of the user's own."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    (project / f"{name}.py").write_text(FUNCTION)
    content = content_of("smoke")
    content["contrasts"]["mine"] = {"method": f"{name}:f", "strength": 0.5}
    content["run"]["settings"] += ["greedy-mine4", "greedy-mine"]
    return content, project / f"{name}.py"


def test_an_edit_of_a_users_function_reaches_what_hands_it_on(own):
    content, file = own
    before = build(check(content, ""))
    mine = before["select"]["tiny"]["contrasts"]["mine"]
    assert mine["strength"] == 0.5
    file.write_text(FUNCTION.replace("- strength", "+ strength"))
    after = build(check(content, ""))
    assert after["select"]["tiny"]["contrasts"]["mine"]["code"] != mine["code"], "its settings are resolved anew"
    assert {stage for stage in before if before[stage] != after[stage]} == {"select", "report"}


def test_the_plan_has_dvc_watch_a_users_function(own):
    content, file = own
    write_plan(check(content, ""))
    assert (file.parent / "conf/functions" / file.name).resolve() == file
    plan = read_plan("smoke")
    assert str(file.parent) not in str(plan)


def test_every_edit_that_reaches_a_cell_is_listed_with_its_value(root, monkeypatch):
    monkeypatch.chdir(root)
    content = content_of("laptop")

    def found_in(content: dict) -> list[str]:
        params = check(content, "")
        return edited(params, build(params))

    assert found_in(content) == []
    content["launcher"] = "accelerate launch"
    assert found_in(content) == [], "changes no result"
    content["train"]["learning_rate"] = 0.01
    content["run"]["settings"] = ["greedy"]
    found = found_in(content)
    assert [line.partition(":")[0] for line in found] == ["launcher", "run.settings", "train.learning_rate"]
    assert "train.learning_rate: 0.01 (profile: 0.001)" in found


def test_a_pinned_source_reaches_every_cell_that_reads_it():
    cells = changed(("assets", "smollm2", "sha256"), "a" * 64)
    assert {"train", "select", "score", "generate@greedy", "benchmark@original"} <= cells
    assert "prepare" not in cells


def test_files_on_disk_without_a_digest_are_pinned_by_their_content(tmp_path):
    content = content_of("laptop")
    model = tmp_path / "model"
    content["assets"]["smollm2"] = {"kind": "path", "path": str(model), "licence": "Apache-2.0"}

    def source() -> dict:
        return entries(content, "generate")["smollm2"]["greedy"]["model"]["source"]

    assert source()["content"] is None, "fetch says that it is missing"
    model.mkdir()
    (model / "config.json").write_text("{}")
    first = source()
    assert source() == first
    (model / "config.json").write_text("{} ")
    assert source() != first
    content["assets"]["smollm2"]["sha256"] = "a" * 64
    assert "content" not in source()


def test_another_mirror_changes_no_cell():
    paper = content_of("paper")
    url = {"kind": "url", "url": "https://example.org/en.txt.xz", "stream": True, "licence": "not stated"}
    paper["assets"]["cc100"] = url
    plain = entries(paper, "prepare")
    paper["assets"]["cc100"]["mirrors"] = ["https://example.com/en.txt.xz"]
    assert entries(paper, "prepare") == plain


def test_contrasts_that_greedy_search_cannot_tell_apart_are_named(project, caplog):
    content = content_of("smoke")
    write_plan(check(content, ""))
    assert "cd" not in caplog.text
    content["run"]["settings"] += ["greedy-cd4", "top-p-cd4"]
    write_plan(check(content, ""))
    assert "contrasts.cd: cd: greedy search picks the same tokens as acd" in caplog.text


def test_text_of_a_task_alone_is_a_source_of_the_plan():
    content = content_of("laptop")
    content["domains"]["stories"] = content["domains"]["news"] | {"title": "Stories"}
    content["prepare"]["benchmark_sources"] = {"last-word": ["stories"]}
    entry = build(check(content, "params.yaml"))["prepare"]
    assert entry["benchmark_sources"] == {"last-word": ["stories"]} and "stories" in entry["sources"]
    assert entry["domains"] == ["wikipedia", "news"]
    content["run"]["tasks"] = ["continuation"]
    entry = build(check(content, "params.yaml"))["prepare"]
    assert "stories" in entry["sources"], "last-word still chooses for the benchmarks"
    assert entry["benchmark_validation_items"] == {"last-word": 100}
    content["select"]["benchmark_tasks"] = []
    assert build(check(content, "params.yaml"))["prepare"]["benchmark_validation_items"] == {}
    assert "stories" not in build(check(content, "params.yaml"))["prepare"]["sources"]
    content["prepare"]["benchmark_sources"] = {"last-word": ["storys"]}
    with pytest.raises(ValueError, match="prepare.benchmark_sources.last-word: 'storys' is not defined; did you mean"):
        check(content, "params.yaml")


@pytest.mark.parametrize(
    "content", ["", "<<<<<<< HEAD", "- a list", "[", "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b"]
)
def test_a_damaged_plan_says_what_writes_it(project, content):
    plan = Paths("smoke").plan
    plan.parent.mkdir(parents=True)
    plan.write_text(content)
    for keys in ((), ("train", "tiny")):
        with pytest.raises(InputError, match=r"plan.json: .*`dvc repro fetch` writes it again"):
            read_plan("smoke", *keys)


@pytest.mark.parametrize("content", ["<<<<<<< HEAD\na: 1", "stages: [1]", "stages: {a: 1}", "- a", "["])
def test_a_damaged_lock_says_how_to_mend_it(content):
    with pytest.raises(InputError, match="dvc.lock: .*git checkout dvc.lock"):
        parse_lock(content)
