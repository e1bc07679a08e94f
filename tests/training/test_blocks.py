"""Packing documents to blocks."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from autocontrastive_gen.training import blocks

SMOKE = Path(__file__).parents[1] / "fixtures" / "smoke"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(SMOKE / "model")


@pytest.fixture(scope="module")
def documents():
    return (SMOKE / "text" / "made-a.txt").read_text(encoding="utf-8").strip().split("\n\n")


def slow_stream(documents, tokenizer):
    return [token for text in documents for token in (*tokenizer.encode(text), tokenizer.eos_token_id)]


@pytest.mark.parametrize("block_size", [1, 7, 64])
def test_blocks_are_the_stream_of_documents_and_eos(documents, tokenizer, block_size, monkeypatch):
    monkeypatch.setattr(blocks, "DOCUMENTS_AT_ONCE", 13)  # several batches, the last one partial
    packed = list(blocks.pack(documents[:40], tokenizer, block_size))
    stream = slow_stream(documents[:40], tokenizer)
    assert np.concatenate(packed).tolist() == stream[: len(stream) // block_size * block_size]
    assert {block.shape for block in packed} == {(block_size,)}


def test_too_little_text_gives_no_block(tokenizer):
    assert list(blocks.pack(["A word."], tokenizer, 512)) == []


def test_reads_no_further_than_asked(documents, tokenizer, monkeypatch):
    monkeypatch.setattr(blocks, "DOCUMENTS_AT_ONCE", 2)
    read = []
    source = (read.append(text) or text for text in documents)
    next(blocks.pack(source, tokenizer, 16))
    assert len(read) == 2


def test_refuses_a_tokenizer_without_eos(documents):
    tokenizer = AutoTokenizer.from_pretrained(SMOKE / "model")
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no EOS token"):
        next(blocks.pack(documents, tokenizer, 16))
