"""Stage fetch: parameters first, then exactly the assets that the run uses."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import stages.fetch
from autocontrastive_gen.data.bundles import tasks_folder
from autocontrastive_gen.data.fetched import check_fetched
from autocontrastive_gen.data.task_names import check_tasks, names_of_lm_eval
from autocontrastive_gen.experiment.params import ParamsError, check, load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import read_json
from stages.fetch import used_assets

ROOT = Path(__file__).parents[2]
PATHS = Paths("smoke")


@pytest.fixture
def params(project, smoke_params):
    """The smoke profile in an empty project; call it with a function that edits its content."""
    (project / "tests").symlink_to(ROOT / "tests")
    (project / "stages").symlink_to(ROOT / "stages")

    def write(edit=lambda content: None):
        content = yaml.safe_load(smoke_params)
        edit(content)
        (project / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    write()
    return write


def fetch(*arguments, stage="fetch"):
    return subprocess.run([sys.executable, "-m", f"stages.{stage}", *arguments], capture_output=True, text=True)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fetch_and_prepare(params):
    assert (done := fetch()).returncode == 0, done.stderr
    records = read_json(PATHS.assets)
    assert set(records) == {path.name for path in PATHS.assets.parent.iterdir()} - {"assets.json"}
    assert all(record["licence"] and record["files"] for record in records.values())
    first = files_of(PATHS.assets.parent)
    (PATHS.assets.parent / "stranger").mkdir()
    (PATHS.assets.parent / "old.txt").write_text("old")
    params(lambda content: content.update(seed=1))
    assert fetch().returncode == 0
    assert files_of(PATHS.assets.parent) == first, "an edit of the parameters changed what fetch gives"
    assert (done := fetch(stage="prepare")).returncode == 0, done.stderr
    assert PATHS.data_card.exists() and (PATHS.tasks / "last-word.yaml").exists()


@pytest.mark.slow
def test_what_a_clone_has_is_not_fetched_again(params, server):
    """Its outputs come from a DVC remote and there is no network; a damaged or different asset is still requested."""
    server.files["a.txt"] = (ROOT / "tests/fixtures/smoke/text/made-a.txt").read_bytes()

    def edit(seed, name="a.txt"):
        source = {"kind": "url", "url": server.url(name), "licence": "Apache-2.0"}
        params(lambda content: (content["assets"].update({"made-a": source}), content.update(seed=seed)))

    edit(1)
    assert (done := fetch()).returncode == 0, done.stderr
    first = files_of(PATHS.assets.parent)
    shutil.rmtree(".scratch")
    server.files.clear()
    edit(2)
    assert (done := fetch()).returncode == 0, done.stderr
    assert files_of(PATHS.assets.parent) == first and '"seed": 2' in PATHS.plan.read_text()
    edit(2, "b.txt")
    assert (done := fetch()).returncode == 2 and "b.txt could not be fetched" in done.stderr
    edit(2)
    (PATHS.asset("made-a") / "a.txt").write_text("damaged")
    assert (done := fetch()).returncode == 2 and "a.txt could not be fetched" in done.stderr


def test_a_rerun_imports_torch_alone_of_the_large_libraries(params):
    code = (
        "import sys; from stages import fetch; fetch.main();"
        "print([name for name in ('transformers', 'datasets', 'lm_eval', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_faulty_parameters_stop_it_before_anything_is_written(params):
    params(lambda content: content["run"].update(models=["tony"]))
    done = fetch()
    assert done.returncode == 2 and "did you mean tiny?" in done.stderr and "Traceback" not in done.stderr
    assert not Path("runs").exists() and not Path("reports").exists()


def test_the_bundle_must_be_an_asset(params):
    params(lambda content: content["prepare"].update(bundle="mine"))
    done = fetch()
    assert done.returncode == 2 and "prepare.bundle: 'mine' is not defined" in done.stderr


def test_all_missing_assets_are_named_together(params):
    def edit(content):
        assets = content["assets"]
        first, second = sorted(assets)[:2]
        assets[first] = {"kind": "path", "path": "gone-1", "licence": "MIT"}
        assets[second] = {"kind": "path", "path": "gone-2", "licence": "MIT"}

    params(edit)
    done = fetch()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "gone-1 does not exist" in done.stderr and "gone-2 does not exist" in done.stderr
    assert PATHS.plan.exists() and not PATHS.assets.exists()


def test_an_unused_asset_is_left_alone(params):
    params(lambda content: content["assets"].update(unused={"kind": "path", "path": "gone", "licence": "MIT"}))
    assert (done := fetch()).returncode == 0, done.stderr


def test_the_model_behind_mauve_is_fetched_where_it_is_used(params):
    params(lambda content: content["score"].update(mauve_asset="encoder"))
    assert used_assets(load_params())["encoder"] is False
    params(lambda content: content["score"].update(mauve=True, mauve_asset="encoder"))
    assert used_assets(load_params())["encoder"] is True
    params(lambda content: content["score"].update(mauve_asset="encodr"))
    with pytest.raises(ValueError, match="score.mauve_asset: 'encodr' is not defined; did you mean encoder?"):
        load_params()


def test_publishers_files_reach_the_benchmark(params):
    """run.tasks names a task of lm-eval's; its data lie in a folder of the user's."""
    Path("mine/piqa").mkdir(parents=True)
    Path("mine/piqa/valid.jsonl").write_text('{"goal": "open", "sol1": "turn", "sol2": "break"}\n')
    Path("mine/piqa/valid-labels.lst").write_text("0\n")

    def edit(content):
        content["assets"]["mine"] = {"kind": "path", "path": "mine", "licence": "MIT"}
        content["prepare"]["bundle"] = "mine"
        content["run"]["tasks"] = ["last-word", "piqa"]

    params(edit)
    assert (done := fetch()).returncode == 0, done.stderr
    assert (done := fetch(stage="prepare")).returncode == 0, done.stderr
    config = (PATHS.tasks / "piqa.yaml").read_text()
    assert "runs/smoke/prepare/tasks/piqa.validation.parquet" in config and str(Path.cwd()) not in config
    assert read_json(PATHS.data_card)["tasks"]["piqa"]["splits"]["validation"]["rows"] == 1


WRONG = {
    "an exit beyond the last layer": (
        lambda content: content["models"]["tiny"].update(exits=[2, 4, 7]),
        r"models.tiny.exits: \[2, 4, 7\] is not allowed: the model has layers 1 to 6",
    ),
    "a lower layer that is the last": (
        lambda content: content["models"]["tiny"].update(exits=[2, 6], lower=6),
        "run.settings: 'greedy-acd' leaves models.tiny no lower exit below layer 6",
    ),
    "a halfway layer without an exit": (
        lambda content: content["models"]["tiny"].update(lower="halfway"),
        r"run.settings: 'greedy-acd' asks for the halfway layer 3 of 6, but models.tiny.exits has \[2, 4\]",
    ),
    "continuations beyond the window": (
        lambda content: content["generate"].update(new_tokens=1000),
        "generate.new_tokens: 1000 is not allowed: with prepare.prompt_words = 8, texts are longer than the 256",
    ),
    "candidates beyond the window": (
        lambda content: content["select"].update(new_tokens=249),
        "select.new_tokens: 249 is not allowed",
    ),
    "an encoder that is a language model": (
        lambda content: content["score"].update(coherence_asset="tiny"),
        "score.coherence_asset: 'tiny' is not allowed: .* nor a pooler",
    ),
    "an encoder that is text": (
        lambda content: content["score"].update(coherence_asset="made-a"),
        "score.coherence_asset: 'made-a' is not allowed: it is no sentence encoder",
    ),
    "a model that is text": (
        lambda content: content["models"]["tiny"].update(asset="made-a"),
        "models.tiny.asset: 'made-a' is not allowed: it is no model of transformers",
    ),
    "items of an unknown task": (
        lambda content: content["prepare"]["benchmark_items"].update({"last-wrd": 3}),
        "prepare.benchmark_items.last-wrd: .*did you mean last-word?",
    ),
    "sources of an unknown task": (
        lambda content: content["prepare"].update(benchmark_sources={"nonsense": ["made-a"]}),
        "prepare.benchmark_sources.nonsense: .*there are: last-word, continuation",
    ),
    "a task without a number of items": (
        lambda content: content["prepare"].update(benchmark_items={"continuation": 4}),
        "no number of items for the task 'last-word'",
    ),
    "an unknown task": (
        lambda content: content["run"].update(tasks=["last-wrd"]),
        "run.tasks: 'last-wrd' is not allowed: .*did you mean last-word?",
    ),
    "an unknown task of lm-eval": (
        lambda content: content["run"].update(tasks=["lambada_opnai"]),
        "run.tasks: 'lambada_opnai' is not allowed: .*did you mean lambada_openai?",
    ),
    "as many examples as items": (
        lambda content: content["benchmark"].update(num_fewshot=4),
        "benchmark.num_fewshot: 4 is not allowed: .*benchmark_items.last-word = 4 leaves 3",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_known_before_anything_is_prepared(project, smoke_params, case):
    edit, message = WRONG[case]
    content = yaml.safe_load(smoke_params)
    edit(content)
    for name, asset in content["assets"].items():
        source, folder = ROOT / asset["path"], PATHS.asset(name)
        place = folder if source.is_dir() else folder / source.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    with pytest.raises(ParamsError, match=message):
        params = check(content, "params.yaml")
        check_tasks(params)
        check_fetched(params, PATHS)


def test_a_full_disk_names_the_asset_and_the_remedy(project, smoke_params, monkeypatch, capsys):
    def fill(name, *rest):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stages.fetch, "provide", fill)
    params = check(yaml.safe_load(smoke_params), "params.yaml")
    with pytest.raises(SystemExit) as end:
        run(lambda: stages.fetch.fetch(params, PATHS), "fetch")
    said = capsys.readouterr().err
    assert end.value.code == 2 and "asset tiny: [Errno 28]" in said and "is full: make room" in said


@pytest.mark.slow
def test_every_name_of_lm_eval_is_known():
    from lm_eval.tasks import TaskManager

    assert set(TaskManager(include_path=tasks_folder(), include_defaults=False).task_index) <= names_of_lm_eval()
