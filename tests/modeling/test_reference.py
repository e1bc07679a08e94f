"""Every recorded output of the reference implementation: logits of all positions, and greedy tokens."""

import functools
import json

import pytest
import torch
from safetensors.torch import load_file

from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

FIXTURES = [
    f"{family}-{mode}"
    for family in ("gpt2", "gpt_neo", "llama", "t5")
    for mode in ("layer_specific_projection", "shared_projection_cast_outputs", "shared_projection_direct")
]


def _settings(folder):
    recorded = json.loads((folder / "settings.json").read_text())
    for name, fields in recorded["settings"].items():
        if "contrast_function" in fields:
            fields["contrast_function"] = functools.partial(calculate_contrasted_logits, **fields["contrast_function"])
        yield name, MultiExitConfiguration(vocab_projection_mode=recorded["vocab_projection_mode"], **fields)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_outputs_of_the_reference(fixture, reference_folder):
    folder = reference_folder / fixture
    expected = load_file(folder / "expected.safetensors")
    inputs = {key: expected[key] for key in ("input_ids", "decoder_input_ids") if key in expected}
    settings = dict(_settings(folder))
    model = AutoMultiExitModel.from_pretrained(folder, multi_exit_config=settings["original"])
    assert model.exit_layers == (2, 4, 6)
    for name, setting in settings.items():
        model.set_exits(setting)
        with torch.no_grad():
            logits = model(**inputs).logits
        torch.testing.assert_close(logits, expected[f"{name}.logits"], atol=1e-4, rtol=0, msg=f"logits of {name}")
        prompts = expected["input_ids"]
        options = {"max_new_tokens": 10, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        ids = model.generate(prompts, attention_mask=torch.ones_like(prompts), **options)
        assert torch.equal(ids, expected[f"{name}.greedy"]), name
