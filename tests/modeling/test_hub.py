"""Push and pull by the normal API, against a hub on this machine; then from its cache without any."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.modeling.hub import local_hub

ROOT = Path(__file__).resolve().parents[2]
SETTING = "MultiExitConfiguration(use_original_head=False, contrast_layer_indices=('original', 2))"
COMMON = f"""
import sys, torch
from huggingface_hub import create_repo, upload_folder
from transformers import AutoModelForCausalLM
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

folder = sys.argv[1]
model = tiny_model(MODES[1], contrast_layer_indices=("original", 2))

@torch.no_grad()
def same(other, expected=model):
    assert torch.equal(other(tiny_ids()).logits, expected(tiny_ids()).logits)

def pull():
    same(AutoMultiExitModel.from_pretrained("lab/exits", {SETTING}))
    same(AutoMultiExitModel.from_pretrained("lab/saved", {SETTING}))
    same(AutoMultiExitModel.from_pretrained("lab/base", {SETTING}, exits="lab/alone"))
    same(AutoModelForCausalLM.from_pretrained("lab/exits"), tiny_plain())
"""
PUSH = """
model.push_to_hub("lab/exits", tags=["multi-exit"])
model.save_pretrained(folder + "/saved", push_to_hub=True, repo_id="lab/saved")
tiny_plain().push_to_hub("lab/base")
model.push_exits_to_hub("lab/alone", metrics={"news": {"2": {"perplexity": 12.5}}}, licence="MIT")
"""


def _run(code: str, folder: Path, **environment: str) -> None:
    environment = {
        **os.environ, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "made-up",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **environment,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", COMMON + code, str(folder)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_push_pull_and_the_cache(tmp_path):
    with local_hub() as (address, repositories):
        _run(PUSH + "pull()", tmp_path, HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
        pushed = {name: dict(files) for name, files in repositories.items()}
    assert set(pushed) == {"lab/exits", "lab/saved", "lab/base", "lab/alone"}
    assert json.loads(pushed["lab/exits"]["config.json"])["lm_head_layer_indices"] == [1, 2, 3]
    assert b"multi-exit" in pushed["lab/exits"]["README.md"]
    assert pushed["lab/saved"]["model.safetensors"] == pushed["lab/exits"]["model.safetensors"]
    assert set(pushed["lab/alone"]) >= {"exits.safetensors", "exits_config.json"}
    card = pushed["lab/alone"]["README.md"].decode()
    assert "license: mit" in card and "| news | 2 | 12.5 |" in card and 'exits="lab/alone"' in card
    _run("pull()", tmp_path, HF_HUB_OFFLINE="1")  # snapshots of the cache, no hub any more
