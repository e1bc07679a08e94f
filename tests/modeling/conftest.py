"""Tiny random models for tests of multi-exit models."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedModel

from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

REFERENCE = Path(__file__).resolve().parent.parent / "fixtures" / "reference"
MODES = ("LAYER_SPECIFIC_PROJECTION", "SHARED_PROJECTION_CAST_OUTPUTS", "SHARED_PROJECTION_DIRECT")


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Checkpoints and outputs recorded from the reference implementation."""
    return REFERENCE


def tiny_config(family: str = "gpt2", layers: int = 4):
    if family == "gpt2":
        return GPT2Config(
            n_layer=layers, n_embd=32, n_head=4, n_positions=64, vocab_size=96, bos_token_id=0, eos_token_id=0,
            initializer_range=0.3, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
        )  # fmt: skip
    return LlamaConfig(
        num_hidden_layers=layers, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=96, max_position_embeddings=64, bos_token_id=0, eos_token_id=0, pad_token_id=0,
        tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip


def tiny_plain(family: str = "gpt2", layers: int = 4) -> PreTrainedModel:
    """A random model whose layers disagree."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(tiny_config(family, layers)).eval()


def tiny_model(mode: str = MODES[0], family: str = "gpt2", exits=(1, 2, 3), **fields) -> PreTrainedModel:
    """The same with exits whose own parameters are random."""
    setting = MultiExitConfiguration(mode, exits)
    model = AutoMultiExitModel.from_model(tiny_plain(family), setting)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in heads.exit_state(model).values():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    if fields:
        model.set_exits(**fields)
    return model


def tiny_ids(rows: int = 3, length: int = 7) -> torch.Tensor:
    return torch.randint(1, 96, (rows, length), generator=torch.Generator().manual_seed(2))
