"""Two processes write what one does, byte for byte."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
from transformers import AutoTokenizer
from autocontrastive_gen.experiment.processes import Processes
from autocontrastive_gen.experiment.provenance import write_jsonl
from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

folder, out = sys.argv[1:]
share = Processes.start().share
config = MultiExitConfiguration(
    "SHARED_PROJECTION_DIRECT", use_original_head=False, contrast_layer_indices=("original", 2)
)
model = AutoMultiExitModel.from_pretrained(folder, config)
tokenizer = AutoTokenizer.from_pretrained(folder)
prompts = [{"id": f"p{i}", "prompt": "the people of Holkeswick sell wool " * (1 + i % 3) + str(i)} for i in range(7)]
decode = {"decode": "top-p", "top_p": 0.9, "new_tokens": 6}
rows = generate_texts(model, tokenizer, prompts, decode, 3, 2, share=share)
rows = annotate(model, tokenizer, rows, 2, share=share)
write_jsonl(f"{out}/{share[0]}-of-{share[1]}.jsonl", rows)
"""


@pytest.mark.slow
def test_two_processes_write_what_one_does(tmp_path, smoke_model_folder):
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = [str(tmp_path / "script.py"), str(smoke_model_folder), str(tmp_path)]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for options in ([], launch):
        done = subprocess.run([sys.executable, *options, *arguments], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, first, second = ((tmp_path / f"{name}.jsonl").read_bytes() for name in ("0-of-1", "0-of-2", "1-of-2"))
    assert one == first == second
