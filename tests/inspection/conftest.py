"""A tiny model with its tokenizer, and a text that both know."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

TEXT = "The road from Holkeswick follows the Torhol"


@pytest.fixture(scope="session")
def tokenizer(smoke_model_folder):
    return AutoTokenizer.from_pretrained(smoke_model_folder)


@pytest.fixture
def plain(smoke_model_folder):
    return AutoModelForCausalLM.from_pretrained(smoke_model_folder, dtype="float32").eval()


@pytest.fixture
def with_exits(smoke_model_folder):
    """Call it for a model whose exits at layers 2 and 4 are random, in a projection mode."""

    def build(mode: str = "SHARED_PROJECTION_CAST_OUTPUTS", **options):
        exits = MultiExitConfiguration(mode, lm_head_layer_indices=(2, 4))
        model = AutoMultiExitModel.from_pretrained(smoke_model_folder, exits, **{"dtype": "float32", **options})
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in heads.exit_state(model).values():
                parameter.copy_(torch.eye(*parameter.shape) + torch.randn_like(parameter) * 0.1)
        return model

    return build
