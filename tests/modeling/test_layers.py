"""The depth of a model, from either form of its configuration."""

import json
import subprocess
import sys

import pytest
from transformers import AutoConfig

from autocontrastive_gen.modeling.layers import depth_of


@pytest.mark.parametrize(
    ("model_type", "key", "depth"),
    [
        ("gpt2", "n_layer", 5),
        ("gpt_neo", "num_layers", 24),
        ("llama", "num_hidden_layers", 5),
        ("bloom", "n_layer", 5),
        ("mpt", "n_layers", 5),
        ("t5", "num_decoder_layers", 5),
    ],
)
def test_a_configuration_and_its_file_agree(model_type, key, depth):
    config = AutoConfig.for_model(model_type, **({} if model_type == "gpt_neo" else {key: depth}))
    assert depth_of(config) == depth_of(json.loads(config.to_json_string(use_diff=False))) == depth


def test_the_decoder_of_a_multimodal_model_counts():
    assert depth_of({"num_hidden_layers": 2, "text_config": {"num_hidden_layers": 7}}) == 7


def test_a_file_without_layers_is_refused():
    with pytest.raises(ValueError, match="number of layers is missing"):
        depth_of({"model_type": "gpt2"})


def test_it_needs_no_torch():
    code = "import sys, autocontrastive_gen.modeling.layers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
