import codecs
import math
import subprocess

import pytest
import yaml

from autocontrastive_gen.experiment.params import PROFILES, ParamsError, check, load_params, load_profile
from autocontrastive_gen.experiment.rendering import render
from autocontrastive_gen.experiment.schema import Params


@pytest.fixture
def content():
    return load_profile("laptop").model_dump(mode="json")


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
    assert shown.stdout == render(load_profile("laptop"))


@pytest.mark.parametrize("name", ["laptop", "smoke", "paper", "paper-released"])
def test_a_rendered_profile_is_complete_and_reads_back_as_the_profile(name, tmp_path):
    params = load_profile(name)
    text = render(params)
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml") == params
    content = yaml.safe_load(text)
    assert set(content) == set(Params.model_fields) and set(content["train"]) == set(type(params.train).model_fields)
    assert "# Blocks per step, over all processes." in text and max(map(len, text.splitlines())) < 200


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 1\nseed: 2\n")
    with pytest.raises(ParamsError, match="'seed' occurs twice"):
        load_params(tmp_path / "params.yaml")


def test_a_profile_adds_to_the_catalogues_of_the_base():
    decoders = load_profile("smoke").decoders
    assert decoders["beam"].parameters == {"num_beams": 2} and decoders["greedy"].method == "greedy"


def test_misspelt_key_is_one_fault_with_its_remedy(content):
    content["sede"] = content.pop("seed")
    assert faults(content) == ["params.yaml: sede: unknown key (value 2023); did you mean seed?"]


def test_all_faults_are_reported_together(content):
    content["decoders"]["top-p"]["top_p"] = 1.5
    content["decoders"]["beam"]["num_beam"] = 3
    content["decoders"]["top-k"]["method"] = "topk"
    content["contrasts"]["acd"]["alpha"] = 2
    content["contrasts"]["exit"] = {"method": "acd"}
    content["run"]["tasks"] = ["last-word", "last-word"]
    content["train"]["method"] = "distilation"
    content["run"]["settings"] = ["greedy", "greedy-acd16", "gredy"]
    content["run"]["domains"] = []
    content["models"]["smollm2"]["asset"] = "smolm2"
    del content["prepare"]["training"]["tokens"]
    told = "\n".join(faults(content))
    for part in (
        "decoders.top-p.top_p: 1.5 is not allowed: must be a number",
        "decoders.beam.num_beam: unknown key (value 3); did you mean num_beams?",
        "decoders.top-k.method: 'topk' is not allowed",
        "did you mean top-k?",
        "contrasts.acd.alpha: 2 is not allowed: must be a number from 0 to 1",
        "contrasts.exit: a contrast may not be called exit",
        "run.tasks: 'last-word' is listed twice",
        "train.method: 'distilation' is not allowed: one of none, least-squares",
        "did you mean distillation?",
        "'greedy-acd16' asks for exit 16, but models.smollm2.exits has [15, 20, 25, 27]",
        "'gredy' is not a setting",
        "run.domains: [] is not allowed",
        "models.smollm2.asset: 'smolm2' is not defined; did you mean smollm2?",
        "prepare.training.tokens: is missing",
    ):
        assert part in told


@pytest.mark.parametrize("key", [None, 7])
@pytest.mark.parametrize("section", [(), ("decoders",), ("models",), ("decoders", "top-p"), ("contrasts", "acd")])
def test_a_key_that_is_no_text_is_refused(content, section, key):
    where = content
    for name in section:
        where = where[name]
    where |= {key: {"method": "acd"}, "surely-unknown": {}}
    content["run"] |= {"models": ["absent"], "settings": ["absent"]}
    told = faults(content)
    assert any(line.startswith(f"params.yaml: {'.'.join([*section, str(key)])}") for line in told), told
    assert any("run.models: 'absent' is not defined" in line for line in told)


def test_tasks_that_choose_for_benchmarks_need_validation_items(content):
    content["select"]["benchmark_tasks"] = ["last-word", "continuation"]
    (fault,) = faults(content)
    assert "select.benchmark_tasks: 'continuation' is not allowed: it has no validation items" in fault
    content["prepare"]["benchmark_validation_items"]["continuation"] = 20
    assert check(content, "params.yaml").select.benchmark_tasks == ["last-word", "continuation"]


def test_several_prompts_per_document_need_paragraphs(content):
    content["domains"]["news"]["prompts_per_document"] = 3
    (fault,) = faults(content)
    assert "domains.news.prompts_per_document: 3 needs prompt_at: paragraph" in fault
    content["domains"]["news"]["prompt_at"] = "paragraph"
    assert check(content, "params.yaml").domains["news"].prompts_per_document == 3


def test_contrast_without_a_lower_exit_is_refused(content):
    content["run"]["settings"] = ["greedy-exit15-acd"]
    assert any("no lower exit below layer 15" in fault for fault in faults(content))


BOMB = "a: &a [1, 1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i or ''}, *a{i or ''}]\n" for i in range(60))
NO_PARAMETERS = {
    "empty": (b"", "must be a mapping"),
    "a list": (b"- a\n", "must be a mapping"),
    "cut": (b"a: [", "not valid YAML"),
    "nearly empty": (b"profile: laptop\n", "run: is missing"),
    "aliases that explode": (BOMB.encode(), "its aliases .* stand for more than a million values"),
    "an alias of itself": (b"a: &a [*a]", "its aliases .* stand for more than a million values"),
    "nested deeply": (b"[" * 100_000, "it is nested too deeply"),
    "a number of 5,000 digits": (b"seed: " + b"9" * 5000, "not valid YAML: .*5000 digits.* line 1"),
    "a date that does not exist": (b"seed: 2023-13-45", "not valid YAML: month must be .* line 1"),
    "a number of 100 digits": (b"seed: " + b"9" * 100, "a whole number of more than 64 bits.* line 1"),
    "an octal number": (b"seed: 010", "010 is not a decimal number.* line 1"),
    "a number with a colon": (b"seed: 1:30", "1:30 is not a decimal number.* line 1"),
    "a key that is a list": (b"? [a]\n: 1", "not valid YAML: unhashable"),
    "UTF-16": ("seed: 1".encode("utf-16"), "is not UTF-8 text but UTF-16 .*; save it as UTF-8"),
    "UTF-16 without a mark": ("seed: 1".encode("utf-16-le"), "UTF-16 text; save it as UTF-8"),
    "Latin-1": ("title: Übung".encode("latin-1"), r"another encoding, such as Latin-1 \(byte 7\)"),
    "binary": (bytes(range(256)), "a binary file"),
    "code": (b'!!python/object/apply:os.mkdir ["ran"]', "could not determine a constructor"),
    "a very long value": (b"profile: " + b"x" * 100_000, "profile"),
}


@pytest.mark.parametrize("case", NO_PARAMETERS)
def test_a_file_that_is_not_a_parameter_file(tmp_path, case):
    text, message = NO_PARAMETERS[case]
    (tmp_path / "params.yaml").write_bytes(text)
    with pytest.raises(ParamsError, match=f"params.yaml: .*{message}") as caught:
        load_params(tmp_path / "params.yaml")
    assert max(map(len, str(caught.value).splitlines())) < 500


def test_a_mark_at_the_start_is_no_fault(tmp_path, smoke_params):
    (tmp_path / "params.yaml").write_bytes(codecs.BOM_UTF8 + smoke_params.encode())
    assert load_params(tmp_path / "params.yaml").profile == "smoke"


def test_text_for_evaluation_only_is_refused_as_a_training_source(content):
    content["assets"]["news"]["evaluation_only"] = True
    (fault,) = faults(content)
    assert "prepare.training.sources: 'news' reads the asset 'news', which is marked evaluation_only" in fault
    content["prepare"]["training"]["sources"] = ["wikipedia"]
    assert check(content, "params.yaml").assets["news"].evaluation_only


def test_the_fields_that_decide_its_bytes_pin_an_asset(content):
    params = check(content, "params.yaml")
    before = params.assets["minilm"].pins()
    assert before == {key: content["assets"]["minilm"][key] for key in ("kind", "package", "version", "file", "sha256")}
    content["assets"]["minilm"] |= {"licence": "another", "note": "another", "evaluation_only": True}
    assert check(content, "params.yaml").assets["minilm"].pins() == before
    content["assets"]["minilm"]["archive"] = "sdist"
    assert check(content, "params.yaml").assets["minilm"].pins() != before


OWN = """
import torch
def right(upper, lower, strength=1.0):
    return torch.log_softmax(upper.float() - strength * lower.float(), -1)
def wrong(upper, lower):
    return upper[..., :2]
"""


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"method": "own_functions:right", "strength": 0.5}, None),
        ({"method": "own_functions:right", "alpha": 0.5}, "has no parameter 'alpha'; it takes strength"),
        ({"method": "own_functions:wrong"}, "own_functions:wrong"),
        ({"method": "own_functions:absent"}, "absent"),
        ({"method": "no_such_module:f"}, "no_such_module"),
    ],
)
def test_a_users_function_is_tried_when_parameters_are_checked(content, entry, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_functions.py").write_text(OWN)
    content["contrasts"]["mine"] = entry
    if message is None:
        assert check(content, "params.yaml").contrasts["mine"].parameters == {"strength": 0.5}
    else:
        (fault,) = faults(content)
        assert fault.startswith("params.yaml: contrasts.mine.method: ") and message in fault


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"method": "acd", "choose": {"alpha": [0.1, 1.5]}},
            "choose.alpha: 1.5 is not allowed: must be a number from 0",
        ),
        (
            {"method": "acd", "choose": {"alfa": [0.1, 0.2]}},
            "choose.alfa: unknown key (value 0.1); did you mean alpha?",
        ),
        ({"method": "acd", "alpha": 0.1, "choose": {"alpha": [0.1, 0.2]}}, "choose.alpha: [0.1, 0.2] is not allowed: "),
        (
            {"method": "acd", "choose": {"alpha": [0.1]}},
            "choose.alpha: [0.1] is not allowed: a choice needs at least two",
        ),
        ({"method": "acd", "choose": {"alpha": [0.1, 0.1]}}, "at least two values, all different"),
        ({"method": "acd", "choose": {"alpha": 0.1}}, "choose.alpha: 0.1 is not allowed: input should be a valid list"),
        ({"method": "acd", "choose": {"method": ["acd", "cd"]}}, "method is no parameter; give each method an entry"),
        ({"method": "ensemble", "layers": [15], "choose": {"weights": [[1, 2], [1]]}}, "weights"),
        ({"method": "no_such_module:f", "choose": {"alpha": [0.1, 0.2]}}, "no_such_module"),
        (
            {"method": "acd", "choose": {"alpha": [i / 20 for i in range(1, 18)]}},
            "17 combinations times 4 lower layers of models.smollm2 are 68 candidates, more than 64; remove values",
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(content, entry, message):
    content["contrasts"]["acd"] = entry
    told = faults(content)
    assert any(line.startswith("params.yaml: contrasts.acd") and message in line for line in told), told


def test_a_choice_is_read_and_rendered(content, tmp_path):
    content["contrasts"]["acd"] = {"method": "acd", "choose": {"alpha": [0.05, 0.1], "temperature": [0.5, 1.0]}}
    content["contrasts"]["dola"] = {"method": "dola", "choose": {"layers": ["low", "high"]}}
    params = check(content, "params.yaml")
    (tmp_path / "params.yaml").write_text(render(params))
    assert load_params(tmp_path / "params.yaml") == params
    assert params.contrasts["acd"].choose["temperature"] == [0.5, 1.0] and params.contrasts["acd"].parameters == {}
    content["models"]["smollm2"]["lower"] = 25
    content["contrasts"]["acd"]["choose"]["alpha"] = [i / 50 for i in range(1, 31)]
    check(content, "params.yaml")  # 60 candidates with the one layer
    content["decoders"]["top-p"]["choose"] = {"top_p": [0.9, 0.95]}
    assert any("decoders.top-p.choose: unknown key" in fault for fault in faults(content))


URL = {"kind": "url", "url": "https://example.org/f", "licence": "MIT"}
HUB = {"kind": "hub", "repo": "a/b", "revision": "main", "licence": "MIT"}
WRONG = [
    ("run.tasks", [""]),
    ("run.tasks", ["../../etc/passwd"]),
    ("run.tasks", ["last-word", "last-word"]),
    ("run.domains", ["wikipedia", "wikipedia"]),
    ("run.models", ["smollm2", "smollm2"]),
    ("run.settings", ["greedy-exit015"]),
    ("run.benchmark_settings", ["acd015"]),
    ("contrasts.mine", {"method": ""}),
    ("contrasts.mine", {"method": "../../etc/passwd"}),
    ("contrasts.mine", {"method": "nomodule:fn"}),
    ("contrasts.mine", {"method": "os:nofn"}),
    ("contrasts.mine", {"method": "acd", "alpha": math.inf}),
    ("decoders.mine", {"method": "temperature", "temperature": math.inf}),
    ("decoders.mine", {"method": "beam", "num_beams": math.inf}),
    ("decoders.mine", {"method": "beam", "num_beams": 10**400}),
    ("train.epochs", math.inf),
    ("run.settings", ["greedy-exit" + "9" * 5000]),
    ("select.coherence_margin", math.inf),
    ("select.coherence_margin", math.nan),
    ("train.learning_rate", math.inf),
    ("train.weight_decay", math.inf),
    ("train.betas", [0.9, math.inf]),
    ("train.betas", [0.9, 1.0]),
    ("train.cast.damping", math.inf),
    ("seed", 2**64),
    ("benchmark.num_fewshot", -1),
    ("benchmark.num_fewshot", 10**6),
    ("benchmark.num_fewshot", 300),
    ("select.new_tokens", 10**9),
    ("generate.new_tokens", 10**9),
    ("prepare.prompt_words", 51),
    ("report.paper", "nothing"),
    ("report.paper", "../profiles/laptop"),
    ("report.paper", "/etc/passwd"),
    ("report.paper", "claims"),
    ("track.experiment", "  "),
    ("assets.mine", URL | {"url": "https://example.org/folder/"}),
    ("assets.mine", URL | {"url": "https://example.org/?name=f"}),
    ("assets.mine", URL | {"url": "https:///f"}),
    ("assets.mine", URL | {"mirrors": ["file:///etc/passwd"]}),
    ("assets.mine", HUB | {"repo": ""}),
    ("assets.mine", HUB | {"revision": ""}),
    ("assets.mine", HUB | {"files": ["../*"]}),
    ("assets.mine", {"kind": "path", "path": "", "licence": "MIT"}),
    ("assets.mine", {"kind": "path", "path": "~no-such-user/text", "licence": "MIT"}),
    ("prepare.training.sources", ["wikipedia", "wikipedia"]),
    ("prepare.benchmark_sources.last-word", ["stories", "stories"]),
    ("domains.wikipedia.files", "../*"),
    ("domains.wikipedia.files", "/etc/*"),
    ("domains.wikipedia.files", "~user/*"),
]
"""Values that can't be right, by their key."""


def test_a_streamed_corpus_is_only_trained_on(content):
    content["assets"]["news"] = URL | {"stream": True}
    content["domains"]["news"]["where"] = {"topic": ["sport"]}
    content["prepare"]["benchmark_sources"] = {"last-word": ["news"]}
    whole = "'news' is not allowed: it is read over the network and never whole"
    told = "\n".join(faults(content))
    assert f"run.domains: {whole}" in told and f"prepare.benchmark_sources.last-word: {whole}" in told
    assert "domains.news.where: {'topic': ['sport']} is not allowed" in told


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key}={value}"[:60] for key, value in WRONG])
def test_a_value_that_cannot_be_right_is_refused_by_its_key(content, key, value):
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    section[last] = value
    start = "params.yaml: train:" if key == "train.betas" and math.inf not in value else f"params.yaml: {key}"
    assert any(line.startswith(start) for line in faults(content))
