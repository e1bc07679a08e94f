"""A tiny random model with usable exits, and prompts of different lengths."""

import pytest
import torch
from transformers import AutoTokenizer

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

PROMPTS = [
    "The road from Holkeswick follows the Torhol",
    "Since then",
    "There are 78 houses in Holkeswick, and most of them trade in wool. Holkeswick is a narrow village",
    "Dimitri wrote",
    "Travellers who cross the river",
    "no market is as golden as the boat",
    "Every autumn there is hail, and then",
    "wool",
    "The lantern of Holkeswick is older than the clock beside it",
]


@pytest.fixture(scope="session")
def tokenizer(smoke_model_folder):
    return AutoTokenizer.from_pretrained(smoke_model_folder)


@pytest.fixture
def model(smoke_model_folder):
    torch.manual_seed(0)
    config = MultiExitConfiguration("SHARED_PROJECTION_DIRECT")
    return AutoMultiExitModel.from_pretrained(smoke_model_folder, config, dtype=torch.float32)


@pytest.fixture(scope="session")
def prompts():
    return [{"id": f"p{i}", "prompt": text} for i, text in enumerate(PROMPTS)]
