"""A GGUF file becomes an ordinary model folder."""

import os

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from autocontrastive_gen.data.assets import provide
from autocontrastive_gen.data.gguf import convert
from autocontrastive_gen.experiment.asset_schema import PathAsset
from autocontrastive_gen.foundation.errors import FileError
from tests.strategies import bounded, budget, damaged, outcome

WIDTH, HEADS, LAYERS, VOCABULARY, INNER = 32, 4, 2, 64, 64


def write_llama(path, quantised=False):
    """A tiny random Llama as llama.cpp lays it out, with a byte-level tokenizer; optionally with 8-bit matrices."""
    import gguf

    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([chr(33 + i) for i in range(VOCABULARY - 1)] + ["%&"])
    writer.add_token_types([1] * VOCABULARY)
    writer.add_token_merges(["% &"])
    for name in ("bos", "eos", "unk"):
        getattr(writer, f"add_{name}_token_id")(0)

    def tensor(name, *shape):
        values = (rng.standard_normal(shape) * 0.1).astype(np.float32)
        if quantised and len(shape) == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    tensor("token_embd.weight", VOCABULARY, WIDTH)
    tensor("output_norm.weight", WIDTH)
    for i in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{i}.{name}.weight", WIDTH, WIDTH)
        tensor(f"blk.{i}.ffn_gate.weight", INNER, WIDTH)
        tensor(f"blk.{i}.ffn_up.weight", INNER, WIDTH)
        tensor(f"blk.{i}.ffn_down.weight", WIDTH, INNER)
        tensor(f"blk.{i}.attn_norm.weight", WIDTH)
        tensor(f"blk.{i}.ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def asset(project):
    (project / "in").mkdir()
    write_llama(project / "in" / "tiny.gguf")
    return PathAsset(kind="path", path="in/tiny.gguf", licence="MIT")


def test_becomes_a_folder_that_loads_as_any_model(asset, project):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    record = provide("tiny", asset, project / "model", model=True)
    model = AutoModelForCausalLM.from_pretrained(project / "model")
    direct = AutoModelForCausalLM.from_pretrained(project / "in", gguf_file="tiny.gguf", dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16 and not hasattr(model.config, "quantization_config")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(record["files"])
    ids = torch.arange(1, 20)[None]
    torch.testing.assert_close(model(ids).logits, direct(ids).logits)
    assert AutoTokenizer.from_pretrained(project / "model").encode("$%&") == [3, VOCABULARY - 1]


def test_converted_once_with_the_same_bytes(asset, project, monkeypatch):
    import shutil

    from autocontrastive_gen.data import gguf

    first = provide("tiny", asset, project / "one", model=True)
    with monkeypatch.context() as patch:
        patch.setattr(gguf, "convert", lambda *args: pytest.fail("converted twice"))
        assert provide("tiny", asset, project / "two", model=True) == first
    shutil.rmtree(".scratch")
    assert provide("tiny", asset, project / "three", model=True) == first


@pytest.mark.parametrize("size", [0, 3, 20, 200, -40_000, -100])
def test_a_damaged_file_is_named_and_leaves_nothing(asset, project, size):
    path = project / "in" / "tiny.gguf"
    os.truncate(path, size % path.stat().st_size)
    with pytest.raises(FileError, match="tiny.gguf: is damaged or not a model that transformers can make of a GGUF"):
        provide("tiny", asset, project / "model", model=True)
    assert not (project / "model").exists()


def test_a_list_that_is_longer_than_the_file_does_not_fill_the_memory(asset, project):
    path = project / "in" / "tiny.gguf"
    content = bytearray(path.read_bytes())
    length = content.index(b"tokenizer.ggml.token_type") + len(b"tokenizer.ggml.token_type") + 8
    assert int.from_bytes(content[length : length + 8], "little") == VOCABULARY
    content[length + 5] = 1  # a trillion more
    path.write_bytes(content + bytes(-(len(content) - length) % 4))  # so that the items end with the file
    with pytest.raises(FileError, match="tiny.gguf: is damaged or not a model .*a value is longer than the file"):
        provide("tiny", asset, project / "model", model=True)


@budget(3, 80, data=st.data())
def test_a_damaged_header_ends_in_a_model_or_an_error(data, tmp_path):
    path = tmp_path / "tiny.gguf"
    write_llama(path)
    path.write_bytes(data.draw(damaged(path.read_bytes(), within=2000)))
    with bounded():
        outcome(lambda: convert(path, tmp_path / "model"))


def test_a_plain_asset_stays_a_gguf_file(asset, project):
    assert set(provide("tiny", asset, project / "file")["files"]) == {"tiny.gguf"}
