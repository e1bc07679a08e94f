"""The train stage as a command: what it writes, how it resumes, and its messages about bad input (exit code 2)."""

import json
import logging
import shutil
import signal

import pytest
import torch

from autocontrastive_gen.experiment.cell_command import run_cell
from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.foundation.files import read_json, write_jsonl
from autocontrastive_gen.training.loop import Loop
from stages import train

PATHS = Paths("smoke")
STEPS = 15


@pytest.fixture
def stage(project, monkeypatch, caplog):
    """The smoke profile up to ``prepare``, made by hand; a call runs the stage and returns (exit code, output)."""
    documents = []
    for name in ("made-a", "made-b"):
        text = (project / f"tests/fixtures/smoke/text/{name}.txt").read_text()
        documents.append([part.replace("\n", " ") for part in text.split("\n\n") if part.strip()])
    rows = [{"id": str(i), "source": "made", "text": text} for i, text in enumerate(documents[0] + documents[1])]
    write_jsonl(PATHS.training_text / "text-0.jsonl", rows)
    held_out = [
        {"id": d, "domain": d, "text": " ".join(t[:4])} for d, t in zip(("made-a", "made-b"), documents, strict=True)
    ]
    write_jsonl(PATHS.validation_text, held_out)
    for row in held_out:
        prompt = " ".join(row["text"].split()[:8])
        write_jsonl(PATHS.prompts(row["domain"], "validation"), [{"id": row["id"], "prompt": prompt, "human": prompt}])
    for name, source in (("tiny", "model"), ("encoder", "encoder")):
        shutil.copytree(project / "tests/fixtures/smoke" / source, PATHS.asset(name))
    monkeypatch.setattr("sys.argv", ["train", "--model", "tiny"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    # commands that earlier tests ran in this process have left handlers whose stream is closed
    monkeypatch.setattr(
        logging.root, "handlers", [h for h in logging.root.handlers if type(h) is not logging.StreamHandler]
    )

    def run(capsys) -> tuple[int, str]:
        write_plan(load_params())
        caplog.clear()
        caplog.set_level(logging.INFO)
        try:
            run_cell("train", train.__doc__, train.work)
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err + caplog.text

    return run


def edit(old: str, new: str) -> None:
    with open("params.yaml", encoding="utf-8") as file:
        text = file.read()
    assert text.count(old) == 1
    with open("params.yaml", "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def exits() -> dict:
    """What training leaves: digests of the weights, and the loss curve."""
    return {path.name: path.read_bytes() for path in (PATHS.exit_digests("tiny"), PATHS.curves("tiny"))}


@pytest.mark.slow
def test_an_interrupted_stage_resumes_unless_a_parameter_changed(stage, capsys, monkeypatch):
    assert stage(capsys)[0] == 0
    whole, step = exits(), Loop.take_step

    def interrupted(self):
        if self.step == 10:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Loop, "take_step", interrupted)
    assert stage(capsys)[0] == 130
    monkeypatch.setattr(Loop, "take_step", step)
    edit("learning_rate: 0.001", "learning_rate: 0.002")
    code, said = stage(capsys)
    assert code == 0 and "resumed" not in said and exits() != whole
    edit("learning_rate: 0.002", "learning_rate: 0.001")
    code, said = stage(capsys)
    assert code == 0 and f"resumed at step 8 of {STEPS}" in said and exits() == whole


def test_released_exits_are_measured_and_leave_the_same_files(stage, capsys):
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    torch.manual_seed(0)
    folder = PATHS.asset("tiny")
    configuration = MultiExitConfiguration("LAYER_SPECIFIC_PROJECTION", (2, 4))
    AutoMultiExitModel.from_pretrained(folder, multi_exit_config=configuration).save_pretrained(folder)
    edit("mode: SHARED_PROJECTION_CAST_OUTPUTS", "mode: LAYER_SPECIFIC_PROJECTION")
    edit("method: distillation", "method: none")
    assert stage(capsys)[0] == 0
    quality = read_json(PATHS.exit_quality("tiny"))
    assert set(quality) == {"made-a", "made-b"}
    for layers in quality.values():
        assert set(layers) == {"original", "2", "4"}
        names = {"perplexity", "agreement", "entropy", "tokens", "nll_error", "agreement_error"}
        assert all(set(row) == names for row in layers.values())
    assert PATHS.curves("tiny").read_text() == "step,tokens,layer,loss,validation_perplexity\n"
    assert "were measured and not trained" in (PATHS.exits("tiny") / "README.md").read_text()


def test_curves_have_a_row_for_every_exit_with_its_validation_perplexity(stage, capsys):
    edit("schedule: linear", "schedule: cosine")
    edit("patience: null", "patience: 3")
    assert stage(capsys)[0] == 0
    rows = [line.split(",") for line in PATHS.curves("tiny").read_text().splitlines()[1:]]
    assert {row[2] for row in rows} == {"2", "4"} and len(rows) == 2 * STEPS
    assert [row[0] for row in rows if row[2] == "4" and row[4]] == ["8", str(STEPS)]


def no_text(monkeypatch):
    (PATHS.training_text / "text-0.jsonl").write_text("")


def no_shard(monkeypatch):
    (PATHS.training_text / "text-0.jsonl").unlink()


def little_text(monkeypatch):
    write_jsonl(PATHS.training_text / "text-0.jsonl", [{"id": "0", "source": "made", "text": "one short text"}])


def no_validation(monkeypatch):
    PATHS.validation_text.write_text("")


def foreign_tokenizer(monkeypatch):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = json.loads((PATHS.asset("tiny") / "config.json").read_text())
    GPT2LMHeadModel(GPT2Config(**{**config, "vocab_size": 20})).save_pretrained(PATHS.asset("tiny"))


def diverging(monkeypatch):
    edit("learning_rate: 0.001", "learning_rate: 1.0e+30")
    edit("evaluate_every: 8", "evaluate_every: 1")
    edit("warmup_steps: 2", "warmup_steps: 0")


def not_finite(monkeypatch):
    losses = Loop._losses

    def broken(self, *args):
        for layer, loss in zip(self.exits.weights, losses(self, *args), strict=True):
            yield loss * float("nan") if layer == 4 and self.step == 9 else loss

    monkeypatch.setattr(Loop, "_losses", broken)


def no_memory(monkeypatch):
    def hungry(self):
        raise torch.OutOfMemoryError("tried to allocate 10 GiB")

    monkeypatch.setattr(Loop, "take_step", hungry)


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (no_text, ["0 blocks of 32 tokens are fewer than batch_size = 4", "prepare.training.tokens"]),
        (no_shard, ["no training text", "dvc repro prepare"]),
        (little_text, ["blocks of 32 tokens are fewer than batch_size = 4"]),
        (no_validation, ["validation text of made-a: less than one block of 32", "prepare.validation_documents"]),
        (foreign_tokenizer, ["vocabulary ends at 19", "take the tokenizer that belongs to the model"]),
        (not_finite, ["exit 4, step 9: the loss is nan", "the state after step 8 is kept in .scratch/train/"]),
        (
            diverging,
            [
                "exit 2, step 1: the validation perplexity is 1.01e+304",
                "no checkpoint",
                "lower learning_rate = 1e+30",
            ],
        ),
        (no_memory, ["out of memory (tried to allocate 10 GiB); lower microbatch_size", "block_size = 32"]),
    ],
)
def test_bad_input_ends_in_one_message(stage, capsys, monkeypatch, spoil, parts):
    spoil(monkeypatch)
    code, said = stage(capsys)
    assert code == 2 and "Traceback" not in said
    for part in parts:
        assert part in said
