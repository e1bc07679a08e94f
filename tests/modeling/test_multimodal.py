"""Text decoders inside models that also see images: exits of the decoder, by structure as everywhere."""

import pytest
import torch
from transformers import AutoModelForImageTextToText, Gemma3Config, LlavaConfig, Qwen2VLConfig

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from tests.modeling.conftest import tiny_ids

TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "head_dim": 8,
    "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "initializer_range": 0.3,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
IMAGE = 95
"""The token at each of the four patches of an image."""


def _configuration(family: str):
    if family == "gemma3":
        text = {"model_type": "gemma3_text", **TEXT}
        return Gemma3Config(text_config=text, vision_config=VISION, mm_tokens_per_image=4, image_token_index=IMAGE)
    if family == "llava":
        text, vision = (
            {"model_type": "llama", **TEXT},
            {"model_type": "clip_vision_model", "projection_dim": 8, **VISION},
        )
        select = {"vision_feature_select_strategy": "default", "image_token_index": IMAGE}
        return LlavaConfig(text_config=text, vision_config=vision, **select)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 8}
    return Qwen2VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, image_token_id=IMAGE)


@pytest.fixture(params=["gemma3", "llava", "qwen2_vl"])
def folder(request, tmp_path):
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(_configuration(request.param)).save_pretrained(tmp_path)
    return tmp_path


@torch.no_grad()
def test_exits_of_the_text_decoder(folder):
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    model = AutoMultiExitModel.from_pretrained(folder, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))
    assert model.num_layers == 4 and model.exit_layers == (1, 2, 3, 4)
    inputs = {"input_ids": tiny_ids(2) % 90}
    if model.config.model_type != "qwen2_vl":  # whose images come as a grid of patches
        inputs["input_ids"] = torch.cat([torch.full((2, 4), IMAGE), inputs["input_ids"]], 1)
        inputs["pixel_values"] = torch.randn(2, 3, 16, 16)
    if model.config.model_type == "gemma3":
        inputs["token_type_ids"] = (inputs["input_ids"] == IMAGE).long()
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    whole = plain(**inputs, output_hidden_states=True)
    assert torch.equal(model(**inputs).logits, whole.logits)
    model.set_exits(output_layer_index=2)
    state = plain.model.language_model.norm(whole.hidden_states[2])
    torch.testing.assert_close(model(**inputs).logits, plain.lm_head(state), atol=1e-5, rtol=1e-4)
    for fields in ({"output_layer_index": 2}, {"contrast_layer_indices": ("original", 2)}):
        model.set_exits(**fields)
        texts = [
            model.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=cache) for cache in (True, False)
        ]
        assert torch.equal(*texts)
