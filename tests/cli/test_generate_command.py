"""``acd generate`` with a tiny model: what it prints, where it comes from, and what it refuses."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from autocontrastive_gen import AutoMultiExitModel, InputError, MultiExitConfiguration, UserError, contrast
from autocontrastive_gen.cli import generate_command as command
from autocontrastive_gen.cli.generate_command import chosen, shared_out
from autocontrastive_gen.generation.decode import stream_text
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.generation.trial import Trial

PROMPT = "Once upon a time there was a little house"


@pytest.fixture
def generate(smoke_model_folder, capsys, monkeypatch, tmp_path):
    """What the command prints; its options are keywords, ``set_`` for --set."""
    monkeypatch.chdir(tmp_path)

    def run(*, set_=(), model=str(smoke_model_folder), prompt=PROMPT, new_tokens=12, **options):
        command.generate(model, prompt, parameters=list(set_), new_tokens=new_tokens, **options)
        return capsys.readouterr().out

    return run


@pytest.fixture
def plain(smoke_model_folder):
    """Continuation of PROMPT by transformers' generate of the plain model."""
    model = AutoModelForCausalLM.from_pretrained(smoke_model_folder)
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompt = tokenizer(PROMPT, return_tensors="pt")

    def run(**options):
        tokens = model.generate(**prompt, max_new_tokens=12, do_sample=False, **options)
        new = tokens[0, prompt["input_ids"].shape[1] :]
        return tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False) + "\n"

    return run


def test_the_text_is_that_of_transformers(generate, plain):
    assert generate() == plain()
    assert generate(decoder="beam", set_=["num_beams=3"]) == plain(num_beams=3)


def test_the_text_is_that_of_the_library_with_a_contrast(generate, plain):
    expected = plain(custom_generate=contrast("acd", lower=3, alpha=0.3))
    assert generate(contrast="acd", lower=3, alpha=0.3) == expected != plain()
    assert generate(contrast="acd", lower=3, set_=["alpha=0.3"]) == expected
    by_layers = plain(custom_generate=contrast("dola", layers=(2, 4)))
    assert generate(contrast="dola", set_=["layers=2;4"]) == by_layers


def test_trained_exits_are_used_and_the_default_layer_is_one_of_them(generate, smoke_model_folder, tmp_path):
    exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=exits)
    torch.manual_seed(0)
    with torch.no_grad():
        for cast in model.name_to_conv_matrix.values():
            cast.weight += 0.3 * torch.randn_like(cast.weight)
    model.save_exits(tmp_path / "exits")
    model.set_exits(contrast_layer_indices=("original", 4))
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompt = tokenizer(PROMPT, return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=12)[0, prompt["input_ids"].shape[1] :]
    shown = generate(exits=str(tmp_path / "exits"), contrast="acd")
    assert shown == tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False) + "\n"
    model.set_exits()
    model.save_pretrained(tmp_path / "whole")
    tokenizer.save_pretrained(tmp_path / "whole")
    assert generate(model=str(tmp_path / "whole"), contrast="acd") == shown, "exits of the checkpoint itself"
    with pytest.raises(InputError, match="3"):
        generate(exits=str(tmp_path / "exits"), contrast="acd", lower=3)


def test_a_prompt_comes_from_a_pipe(generate, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PROMPT}\n"))
    assert generate(prompt="-") == generate()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"%PDF-1.7 \xff"), encoding="utf-8"))
    with pytest.raises(InputError, match="--prompt -: is no text in UTF-8"):
        generate(prompt="-")


def test_a_trial_that_the_playground_has_saved_is_continued(generate, smoke_model_folder, tmp_path, caplog):
    acd = {"contrast_layer_indices": ["original", 3], "contrast_function": {"name": "acd", "alpha": 0.3}}
    settings = [{}, {"decoder": {"method": "top-p"}, "exits": acd}]
    content = {"prompt": PROMPT, "new_tokens": 12, "seed": 7, "settings": settings}
    (tmp_path / "trial.json").write_text(json.dumps(content))
    expected = Trial.read(content).texts(*command.load(smoke_model_folder))
    with caplog.at_level("INFO"):
        shown = generate(prompt=None, trial=tmp_path / "trial.json")
    assert shown == "".join(f"{row['continuation']}\n" for row in expected)
    assert 'text 2: {"decoder": {"method": "top-p"' in caplog.text
    with pytest.raises(InputError, match="trial.json: is not a trial"):
        (tmp_path / "trial.json").write_text("{")
        generate(prompt=None, trial=tmp_path / "trial.json")


def test_samples_depend_on_the_seed(generate):
    sampled = {"decoder": "top-p", "set_": ["top_p=0.9"]}
    assert generate(**sampled) == generate(**sampled) != generate(**sampled, seed=1)


def test_text_arrives_before_the_last_token(smoke_model_folder):
    model, tokenizer = command.load(smoke_model_folder)
    steps, arrived = [], []
    model.register_forward_hook(lambda *_: steps.append(None))
    greedy = DECODERS.build("greedy", {})
    stream_text(model, tokenizer, PROMPT, greedy, 40, 0, lambda part: part and arrived.append((len(steps), part)))
    assert arrived[0][0] < len(steps) and len(arrived) > 2


def test_a_reader_that_leaves_is_no_error_and_mistakes_end_with_2(smoke_model_folder, tmp_path):
    call = [sys.executable, "-m", "autocontrastive_gen.cli.application", "generate", "--model", str(smoke_model_folder)]
    pipes = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*call, "--prompt", PROMPT], **pipes)
    process.stdout.close()
    assert process.wait(120) == 141 and process.stderr.read() == ""
    done = subprocess.run([*call, "--prompt", PROMPT, "--contrast", "dolla"], **pipes)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert "did you mean dola?" in done.stderr and ".scratch/logs/generate.log" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decoder": "gredy"}, "did you mean greedy"),
        ({"contrast": "acd", "alpha": 2}, "alpha of acd must be a number from 0 to 1, got 2"),
        ({"set_": ["alpha=0.3"]}, "there is no such parameter; there are decoder.repetition_penalty"),
        ({"alpha": 0.3}, "alpha of a contrast: name one, such as --contrast acd"),
        ({"lower": 3}, "name one, such as --contrast acd"),
        ({"contrast": "acd", "lower": 99}, "99"),
        ({"model": "./nowhere"}, "nowhere"),
        ({"contrast": "acd", "set_": ["alpha=[1"]}, "alpha=\\[1: is no value in YAML"),
        ({"contrast": "dola", "set_": ["layers=all"], "lower": 3}, "--lower 3: dola with these parameters takes none"),
        ({"contrast": "none", "lower": 3}, "takes none"),
        ({"contrast": "builtins:print"}, "builtins:print"),
        ({"prompt": "a\udcff"}, "--prompt: is no text in UTF-8"),
        ({"prompt": ""}, "is empty"),
        ({"new_tokens": 100000}, "exceed the model's"),
        ({"exits": "./nowhere"}, "nowhere"),
        ({"prompt": None}, "give either --prompt or --trial"),
        ({"trial": Path("trial.json")}, "give either --prompt or --trial"),
        ({"prompt": None, "trial": Path("trial.json"), "contrast": "acd"}, "its settings name their decoders"),
        ({"prompt": None, "trial": Path("absent.json")}, "absent.json"),
    ],
)
def test_mistakes_are_named(generate, options, told):
    with pytest.raises(UserError, match=told):
        generate(**options)


def test_parameters_go_to_the_one_that_declares_them():
    decoder, method = chosen(
        "top-p", "cd", ["top_p=0.5", "alpha=0.2", "contrast.temperature=2", "decoder.temperature=3"]
    )
    assert (decoder.top_p, decoder.temperature, method.alpha, method.temperature) == (0.5, 3, 0.2, 2)
    with pytest.raises(InputError, match="say which: decoder.temperature=2 or contrast.temperature=2"):
        chosen("top-p", "cd", ["temperature=2"])
    with pytest.raises(InputError, match="has no value; write alpha=VALUE"):
        shared_out(["alpha"], {"contrast": ["alpha"]})


def test_a_function_of_ones_own_takes_its_parameters_with_the_prefix(monkeypatch, tmp_path):
    (tmp_path / "my_own_contrast.py").write_text(
        "def flat(upper, lower, heat=1.0):\n    return (upper / heat).log_softmax(-1)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert chosen("greedy", "my_own_contrast:flat", ["contrast.heat=2"])[1].parameters == {"heat": 2}
    with pytest.raises(InputError, match="has no parameter 'cold'; it takes heat"):
        chosen("greedy", "my_own_contrast:flat", ["contrast.cold=2"])
