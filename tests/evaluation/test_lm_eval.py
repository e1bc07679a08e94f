"""The adapter's log-likelihoods and texts against plain transformers and a contrast worked out by hand."""

import json
import math
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import yaml
from lm_eval.api import registry
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from autocontrastive_gen.evaluation import lm_eval_harness
from autocontrastive_gen.evaluation.benchmarks import evaluate, items, results
from autocontrastive_gen.evaluation.lm_eval_harness import run_lm_eval
from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import read_json, read_jsonl, write_jsonl
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

DIRECT = {"vocab_projection_mode": "SHARED_PROJECTION_DIRECT"}
SETTINGS = {
    "original": {},
    "exit": {"use_original_head": "False", "output_layer_index": 4},
    "contrast": {"use_original_head": False, "contrast_layer_indices": "'original;2'"},
    "contrast of exits": {"use_original_head": False, "contrast_layer_indices": "4;2", "contrast_alpha": 0.3},
}
PAIRS = [
    ("The road from Holkeswick follows", " the Torhol to the clock"),
    ("Since then", " the lantern"),
    ("In winter the people of Holkeswick sell", " wool"),
    ("In winter the people of Holkeswick sell", " wool near the lantern, and then nobody walks"),
    ("", "Dimitri wrote that no market is golden"),
    ("wool", " wool wool wool"),
]


@pytest.fixture(scope="module")
def folder(request):
    return str(request.config.rootpath / "tests/fixtures/smoke/model")


def load(folder, setting, batch_size):
    return MultiExitLM(pretrained=folder, device="cpu", batch_size=batch_size, **DIRECT, **SETTINGS[setting])


def by_hand(folder, setting, context, continuation):
    """Sum of log-probabilities of the continuation, one text at a time, in float64, by the paper's formula."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    whole = tokenizer(context + continuation)["input_ids"]
    start = len(tokenizer(context)["input_ids"])
    if not context:  # lm-eval scores a text without context after the end-of-text token
        whole, start = [tokenizer.eos_token_id, *whole], 1
    with torch.no_grad():
        output = model(torch.tensor([whole]), output_hidden_states=True)
        states = [*output.hidden_states[:-1]]
        exits = {layer: model.lm_head(model.transformer.ln_f(states[layer])) for layer in (2, 4)}
    logits = {"original": output.logits, **exits}
    logits = {key: value[0, start - 1 : -1].double().log_softmax(-1) for key, value in logits.items()}
    upper = logits["original" if setting in ("original", "contrast") else 4]
    if "contrast" in setting:
        alpha = 0.3 if setting == "contrast of exits" else 0.1
        plausible = upper.exp() >= alpha * upper.exp().amax(-1, keepdim=True)
        score = (upper - logits[2]).masked_fill(~plausible, -torch.inf).softmax(-1)
        mass = (upper.exp() * plausible).sum(-1, keepdim=True)
        upper = torch.where(plausible, score * mass, upper.exp()).log()
    tokens = torch.tensor(whole[start:])
    return float(upper.gather(-1, tokens[:, None]).sum()), bool((upper.argmax(-1) == tokens).all())


@pytest.mark.parametrize("setting", SETTINGS)
def test_loglikelihoods_of_several_tokens(folder, setting):
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
    expected = [by_hand(folder, setting, *pair) for pair in PAIRS]
    for batch_size in (1, 4, 6):
        found = load(folder, setting, batch_size).loglikelihood(requests, disable_tqdm=True)
        for (value, greedy), (exact, exact_greedy) in zip(found, expected, strict=True):
            assert value == pytest.approx(exact, abs=2e-4) and greedy == exact_greedy


@pytest.mark.parametrize("softmax_dtype", [None, "float32"])
def test_a_sixteen_bit_model_scores_as_lm_evals_own(folder, softmax_dtype):
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
    options = {"pretrained": folder, "device": "cpu", "dtype": "bfloat16", "softmax_dtype": softmax_dtype}
    ours, own, exact = (
        cls(**options | changed).loglikelihood(requests, disable_tqdm=True)
        for cls, changed in ((MultiExitLM, DIRECT), (HFLM, {}), (HFLM, {"softmax_dtype": "float64"}))
    )
    assert ours == own
    assert ours != exact  # else the test could not tell the types apart
    contrast = MultiExitLM(**options, **DIRECT, **SETTINGS["contrast"])
    assert contrast._last_log_probs([(5, 6, 7)], 2).dtype == torch.float32


def test_only_positions_of_continuations_are_projected(folder, monkeypatch):
    """However unlike the lengths of a batch are, each text has as many rows as the longest continuation has tokens."""
    lm, kept = load(folder, "contrast", 3), []
    forward = lm.model.forward
    monkeypatch.setattr(lm.model, "forward", lambda ids, **options: kept.append(forward(ids, **options)) or kept[-1])
    pairs = [(" ".join(["wool"] * count), rest) for count, (_, rest) in zip((40, 2, 9), PAIRS[:3], strict=True)]
    lm.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)], disable_tqdm=True)
    (output,) = kept
    longest = max(len(lm.tok_encode(context + rest)) - len(lm.tok_encode(context)) for context, rest in pairs)
    assert output.logits.shape[:2] == (3, longest)


def test_choices_of_one_token_share_a_pass(folder, monkeypatch):
    lm, rows = load(folder, "contrast", 8), []
    forward = lm.model.forward
    monkeypatch.setattr(lm.model, "forward", lambda ids, **options: rows.append(len(ids)) or forward(ids, **options))
    ids = lm.tok_encode("wool hail clock boat")
    asked = [((f"{i}", ""), [3, 1, 4], [token]) for i, token in enumerate(ids)] + [
        (("longer", ""), [3, 1], [4, ids[0]])
    ]
    together = lm._loglikelihood_tokens(asked, disable_tqdm=True)
    assert rows == [1]
    alone = [lm._loglikelihood_tokens([request], disable_tqdm=True)[0] for request in asked]
    assert [value for value, _ in together] == pytest.approx([value for value, _ in alone], abs=1e-5)


def test_a_context_beyond_the_models_length_is_cut_on_the_left(folder):
    lm = load(folder, "contrast", 2)
    words = lm.tok_encode("wool hail clock boat " * 100)
    (cut,) = lm._loglikelihood_tokens([(None, words, [7, 8])], disable_tqdm=True)
    (same,) = lm._loglikelihood_tokens([(None, words[-lm.max_length + 1 :], [7, 8])], disable_tqdm=True)
    assert cut == pytest.approx(same, abs=1e-5)


@pytest.mark.parametrize("setting", ["original", "contrast"])
def test_generated_texts_do_not_hang_on_the_batch(folder, setting):
    options = {"until": ["."], "max_gen_toks": 8, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (context, options), i) for i, (context, _) in enumerate(PAIRS) if context
    ]
    one, four = (load(folder, setting, size).generate_until(requests, disable_tqdm=True) for size in (1, 4))
    assert one == four
    tokenizer, model = AutoTokenizer.from_pretrained(folder), load(folder, setting, 1).model
    ids = tokenizer(PAIRS[0][0], return_tensors="pt").input_ids
    expected = model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    assert one[0] == tokenizer.decode(expected, skip_special_tokens=True).split(".")[0]


@pytest.mark.parametrize("placeholder", [lambda entry: entry, lambda entry: entry.value], ids=["entry", "its value"])
def test_lm_eval_loads_the_model_from_its_entry_point(root, monkeypatch, placeholder):
    """As lm-eval's main branch does: every entry point of the group stands for a model until that is asked for."""
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["lm_eval.models"]
    known = registry.Registry("model", base_cls=LM)
    monkeypatch.setattr(registry, "model_registry", known)
    monkeypatch.delitem(sys.modules, "autocontrastive_gen.evaluation.lm_eval_harness.adapter")
    monkeypatch.setattr(lm_eval_harness, "adapter", None)
    for name, value in declared.items():
        known.register(name, target=placeholder(EntryPoint(name, value, "lm_eval.models")))
    assert known.get("multi_exit").__name__ == "MultiExitLM"
    assert {known.get(name) for name in ("multi_exit_gpt", "multi_exit_hf")} == {known.get("multi_exit")}


@pytest.fixture
def tasks(tmp_path):
    """A folder with a task of each kind."""
    rows = [
        {"id": f"item-{i}", "context": c, "target": t.strip(), "choices": [t.strip(), "hail", "the clock"], "label": 0}
        for i, (c, t) in enumerate(PAIRS)
        if c
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{context}}",
        "target_delimiter": " ",
    }
    kinds = {
        "made-word": {
            "output_type": "loglikelihood",
            "doc_to_target": "{{' ' + target}}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            ],
        },
        "made-choice": {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        },
        "made-text": {
            "output_type": "generate_until",
            "doc_to_target": "{{target}}",
            "generation_kwargs": {"until": [".", "wool"], "max_gen_toks": 8, "do_sample": False},
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        },
    }
    for task, kind in kinds.items():
        (tmp_path / f"{task}.yaml").write_text(yaml.safe_dump({"task": task, **common, **kind}))
    return tmp_path


OPTIONS = {"limit": None, "num_fewshot": 0, "seed": 1}


def test_results_and_items(folder, tasks, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lm = load(folder, "contrast", 3)
    output = evaluate(lm, ["made-word", "made-choice"], [tasks], OPTIONS, cache=tmp_path / "answers")
    found, rows = results(output), list(items(output))
    assert {task: set(metrics) for task, metrics in found.items()} == {
        "made-word": {"acc", "perplexity"},
        "made-choice": {"acc"},
    }
    assert found["made-word"]["perplexity"]["n"] == 5
    for task, metrics in found.items():
        values = [row["value"] for row in rows if row["task"] == task and row["metric"] == "acc"]
        assert metrics["acc"]["value"] == pytest.approx(sum(values) / len(values))
    likelihoods = {row["id"]: row["value"] for row in rows if row["metric"] == "perplexity"}
    assert set(likelihoods) == {f"item-{i}" for i in range(6) if i != 4}
    assert likelihoods["item-0"] == pytest.approx(by_hand(folder, "contrast", *PAIRS[0])[0], abs=2e-4)

    def fails(*args, **kwargs):
        raise AssertionError("answers that are kept must not be computed again")

    monkeypatch.setattr(lm.model, "forward", fails)
    again = evaluate(lm, ["made-word", "made-choice"], [tasks], OPTIONS, cache=tmp_path / "answers")
    assert results(again) == found and list(items(again)) == rows


@pytest.fixture
def local_tasks_only(monkeypatch):
    """Indexing lm-eval's own 14,000 files takes 6 s."""
    monkeypatch.setattr(
        "lm_eval.tasks.TaskManager", lambda **options: TaskManager(**{**options, "include_defaults": False})
    )


@pytest.mark.usefixtures("local_tasks_only")
def test_unknown_tasks_are_named(tasks):
    with pytest.raises(ValueError, match="no task made-wrod in .*local: .*made-word"):
        evaluate(None, ["made-wrod"], [tasks], OPTIONS)


def halved(upper_logits, lower_logits, share=0.5):
    """A user's own function, named as ``module:function``."""
    return (upper_logits - lower_logits * share).float().log_softmax(-1)


def test_both_names_and_the_arguments_of_the_reference(folder, tasks):
    """What ``--model_args`` becomes, through lm-eval's own parser."""
    arguments = f"pretrained={folder},use_original_head=False,contrast_layer_indices='original;2',"
    arguments += "vocab_projection_mode=SHARED_PROJECTION_DIRECT,contrast_alpha=0.2,contrast_minimum_candidates=3"
    for name in ("multi_exit_gpt", "multi_exit_hf"):
        lm = get_model(name).create_from_arg_string(arguments, {"batch_size": 2, "device": "cpu"})
        config = lm.model.multi_exit_config
        assert config.contrast_layer_indices == ("original", 2)
        assert (config.contrast_function.alpha, config.contrast_function.minimum_candidates) == (0.2, 3)
    mine = arguments.partition(",contrast_alpha")[0] + f",contrast_function={__name__}:halved"
    lm = get_model(name).create_from_arg_string(mine, {"batch_size": 2, "device": "cpu"})
    assert lm.model.multi_exit_config.contrast_function.function is halved
    lm = get_model(name).create_from_arg_string(mine + ",contrast_share=0.25", {"batch_size": 2, "device": "cpu"})
    assert lm.model.multi_exit_config.contrast_function.parameters == {"share": 0.25}
    arguments += ",contrast_function=dola"
    with pytest.raises(ValueError, match="dola has no parameter 'minimum_candidates'"):
        get_model(name).create_from_arg_string(arguments, {"device": "cpu"})


@pytest.mark.usefixtures("local_tasks_only")
@pytest.mark.parametrize(
    "task, argument, message",
    [
        (
            "made-word",
            "use_orignal_head=False",
            "unexpected keyword argument 'use_orignal_head'; of multi-exit models: .*",
        ),
        ("made-world", "use_original_head=True", "Tasks not found: made-world"),
        ("made-word", "dtype=float99", "--model_args: dtype: torch has no type 'float99'"),
        ("made-word", None, "--model_args: .*missing 1 required .*'pretrained'"),
    ],
)
def test_bad_arguments_end_without_a_traceback(folder, tasks, monkeypatch, capsys, task, argument, message):
    command = f"run_lm_eval --include_path {tasks} --tasks {task} --model multi_exit_gpt --device cpu"
    given = f"pretrained={folder},{argument}" if argument else "use_original_head=True"
    monkeypatch.setattr(sys, "argv", [*command.split(), "--model_args", given])
    with pytest.raises(SystemExit) as end:
        run(run_lm_eval.main, "run_lm_eval")
    assert end.value.code == 2 and re.search(message, capsys.readouterr().err)


REFERENCE = """
python -m autocontrastive_gen.evaluation.lm_eval_harness.run_lm_eval \\
--tasks lambada_openai \\
--model multi_exit_gpt \\
--model_args pretrained=IBM/gpt2-medium-multiexit,use_original_head=False,contrast_layer_indices='original;12' \\
--output_path my_output_path
"""
"""The command of the reference's documentation, word for word."""
PASSAGES = [f"the people of Holkeswick sell {'wool and ' * i}wool near the lantern of Holkeswick" for i in range(5)]


@pytest.mark.slow
def test_the_command_of_the_reference(folder, project):
    """The names of hub repositories are folders here: a model of 24 layers with exits, and LAMBADA's form."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=24, n_head=2, n_positions=128))
    config = MultiExitConfiguration(lm_head_layer_indices=tuple(range(2, 25, 2)))
    AutoMultiExitModel.from_model(plain, config).save_pretrained("IBM/gpt2-medium-multiexit")
    tokenizer.save_pretrained("IBM/gpt2-medium-multiexit")
    write_jsonl("EleutherAI/lambada_openai/test.jsonl", [{"text": text} for text in PASSAGES])
    done = bash(REFERENCE)
    (written,) = Path("my_output_path").rglob("results_*.json")
    found = read_json(written)["results"]["lambada_openai"]
    assert "multi_exit_gpt" in done.stdout and found["sample_len"] == len(PASSAGES)
    lm = MultiExitLM(
        pretrained="IBM/gpt2-medium-multiexit",
        device="cpu",
        use_original_head=False,
        contrast_layer_indices=("original", 12),
    )
    pairs = [tuple(text.rsplit(" ", 1)) for text in PASSAGES]
    asked = [Instance("loglikelihood", {}, (text, f" {word}"), i) for i, (text, word) in enumerate(pairs)]
    values = [value for value, _ in lm.loglikelihood(asked, disable_tqdm=True)]
    assert found["perplexity,none"] == pytest.approx(math.exp(-sum(values) / len(values)), rel=1e-4)


@pytest.mark.slow
def test_two_processes_give_what_one_does(folder, tasks):
    """The real command under accelerate: likelihoods and texts, by one, in any order of the processes."""
    options = f"--include_path {tasks} --tasks made-word,made-text --model multi_exit_hf --batch_size 1 --device cpu"
    setting = (
        "use_original_head=False,contrast_layer_indices='original;2',vocab_projection_mode=SHARED_PROJECTION_DIRECT"
    )
    module = f"-m autocontrastive_gen.evaluation.lm_eval_harness.run_lm_eval {options} --log_samples"
    launchers = {"one": "python", "two": "accelerate launch --multi_gpu --num_processes 2"}
    found = {}
    for name, launcher in launchers.items():
        done = bash(f"{launcher} {module} --model_args pretrained={folder},{setting} --output_path {tasks}/{name}")
        assert ("on rank 1" in done.stderr) == (name == "two"), "the second process did nothing"
        (written,) = (tasks / name).rglob("results_*.json")
        samples = {path.name.split("_2")[0]: read_jsonl(path) for path in (tasks / name).rglob("samples_*.jsonl")}
        answers = {key: {row["doc_id"]: row["filtered_resps"][:1] for row in rows} for key, rows in samples.items()}
        found[name] = read_json(written)["results"], answers
    assert found["one"] == found["two"]
    assert {key: len(rows) for key, rows in found["one"][1].items()} == {"samples_made-word": 5, "samples_made-text": 5}


def bash(command):
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return done
