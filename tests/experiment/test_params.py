import subprocess

import pytest
import yaml

from autocontrastive_gen.experiment.params import PROFILES, ParamsError, check, load_params

LAPTOP = "conf/profiles/laptop.yaml"


@pytest.fixture
def content(root):
    return yaml.safe_load((root / LAPTOP).read_text())


def faults(content) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        check(content, "params.yaml")
    return str(caught.value).splitlines()


def test_every_profile_is_valid_and_names_itself(root):
    files = sorted((root / PROFILES).glob("*.yaml"))
    assert {file.stem for file in files} >= {"laptop", "smoke", "paper", "paper-released"}
    for file in files:
        assert load_params(file).profile == file.stem


def test_committed_params_are_the_laptop_profile(root):
    command = ["git", "show", "HEAD:params.yaml"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip("not in a git repository: there is no committed params.yaml")
    assert shown.stdout == (root / LAPTOP).read_text()


def test_misspelt_key_is_one_fault_with_its_remedy(content):
    content["sede"] = content.pop("seed")
    assert faults(content) == ["params.yaml: sede: unknown key (value 2023); did you mean seed?"]


def test_all_faults_are_told_together(content):
    content["generate"]["top_p"] = 1.5
    content["train"]["method"] = "distilation"
    content["run"]["settings"] = ["greedy", "greedy-acd16", "gredy"]
    content["run"]["domains"] = []
    content["models"]["smollm2"]["asset"] = "smolm2"
    del content["select"]["alpha"]
    told = "\n".join(faults(content))
    for part in (
        "generate.top_p: 1.5 is not allowed",
        "train.method: 'distilation' is not allowed: one of none, least-squares",
        "did you mean distillation?",
        "'greedy-acd16' asks for exit 16, but models.smollm2.exits has [15, 20, 25, 27]",
        "'gredy' is no setting",
        "run.domains: [] is not allowed",
        "models.smollm2.asset: 'smolm2' is not defined; did you mean smollm2?",
        "select.alpha: is missing",
    ):
        assert part in told


def test_contrast_without_a_lower_exit_is_refused(content):
    content["run"]["settings"] = ["greedy-exit15-acd"]
    assert any("no lower exit below 15" in fault for fault in faults(content))


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "profile: laptop\n"])
def test_a_file_that_is_no_parameter_file(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match="params.yaml"):
        load_params(tmp_path / "params.yaml")


def test_text_for_evaluation_only_is_no_training_source(content):
    content["assets"]["news"]["evaluation_only"] = True
    (fault,) = faults(content)
    assert "prepare.training.sources: 'news' reads the asset 'news', which is marked evaluation_only" in fault
    content["prepare"]["training"]["sources"] = ["wikipedia"]
    assert check(content, "params.yaml").assets["news"].evaluation_only


def test_what_pins_an_asset_are_the_fields_that_decide_its_bytes(content):
    params = check(content, "params.yaml")
    before = params.assets["minilm"].pins()
    assert before == {key: content["assets"]["minilm"][key] for key in ("kind", "package", "version", "file", "sha256")}
    content["assets"]["minilm"] |= {"licence": "another", "note": "another", "evaluation_only": True}
    assert check(content, "params.yaml").assets["minilm"].pins() == before
    content["assets"]["minilm"]["archive"] = "sdist"
    assert check(content, "params.yaml").assets["minilm"].pins() != before
