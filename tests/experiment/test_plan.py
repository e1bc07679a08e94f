import yaml

from autocontrastive_gen.experiment.params import check
from autocontrastive_gen.experiment.plan import build, edited


def entries(content, stage):
    return build(check(content, "params.yaml"))[stage]


def changed(root, path, value):
    """Cells whose entry an edit of the laptop profile changes."""
    content = yaml.safe_load((root / "conf/profiles/laptop.yaml").read_text())
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


def test_an_edit_touches_only_the_cells_that_use_it(root):
    assert changed(root, ("generate", "top_p"), 0.9) == {"generate@top-p", "generate@top-p-acd", "report"}
    acd = {"generate@" + name for name in ("greedy-acd", "greedy-acd15", "beam-acd", "top-k-acd", "top-p-acd")}
    assert changed(root, ("contrast", "alpha"), 0.2) == acd | {"benchmark@acd", "report"}
    assert changed(root, ("train", "learning_rate"), 0.01) == {"train"}
    assert changed(root, ("launcher",), "accelerate launch") == set()
    assert changed(root, ("assets", "smollm2", "note"), "another") == set()


def test_every_edit_that_reaches_a_cell_is_named(root, monkeypatch):
    monkeypatch.chdir(root)
    content = yaml.safe_load((root / "conf/profiles/laptop.yaml").read_text())
    assert edited(check(content, "")) == []
    content["launcher"] = "accelerate launch"
    assert edited(check(content, "")) == [], "changes no result"
    content["train"]["learning_rate"] = 0.01
    content["run"]["settings"] = ["greedy"]
    assert edited(check(content, "")) == ["launcher", "run.settings", "train.learning_rate"]


def test_a_pinned_source_reaches_every_cell_that_reads_it(root):
    cells = changed(root, ("assets", "smollm2", "sha256"), "a" * 64)
    assert {"train", "score", "generate@greedy", "benchmark@original"} <= cells
    assert "prepare" not in cells


def test_files_on_disk_without_a_digest_are_pinned_by_what_they_hold(root, tmp_path):
    content = yaml.safe_load((root / "conf/profiles/laptop.yaml").read_text())
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


def test_another_mirror_changes_no_cell(root):
    paper = yaml.safe_load((root / "conf/profiles/paper.yaml").read_text())
    paper["assets"]["cc100"] = {
        "kind": "url",
        "url": "https://example.org/en.txt.xz",
        "stream": True,
        "licence": "not stated",
    }
    plain = entries(paper, "prepare")
    paper["assets"]["cc100"]["mirrors"] = ["https://example.com/en.txt.xz"]
    assert entries(paper, "prepare") == plain
