"""A tiny random model with exits, a tokenizer of words, and text that it can learn from."""

from __future__ import annotations

import random

import torch

from autocontrastive_gen.training.train_settings import TrainSettings

WORDS = ("the cat sat on a mat and then dog ran over hill to see what sun would do at noon when rain came").split()
SETTINGS = {
    "method": "distillation",
    "start": "cast",
    "cast": {"damping": 0.001, "tokens": 4000},
    "sampled_softmax": {"frequent": 8, "negatives": 16},
    "block_size": 16,
    "batch_size": 4,
    "epochs": 1,
    "learning_rate": 0.003,
    "betas": [0.9, 0.99],
    "weight_decay": 0.0,
    "warmup_steps": 2,
    "schedule": "linear",
    "trunk_dropout": False,
    "cache_states": True,
    "bf16": False,
    "evaluate_every": 5,
    "patience": None,
    "validation_tokens": 128,
}


def settings(**changes) -> TrainSettings:
    return TrainSettings(**{**SETTINGS, **changes})


class WordTokenizer:
    """A word a token; id 0 ends a text."""

    eos_token_id = 0
    name_or_path = "words"

    def __call__(self, texts, **_):
        return {"input_ids": [[1 + WORDS.index(word) for word in text.split()] for text in texts]}


def texts(count: int = 60, seed: int = 0) -> list[str]:
    """Sentences in which a word follows from the one before, mostly."""
    draw = random.Random(seed)

    def sentence() -> str:
        at, words = draw.randrange(len(WORDS)), []
        for _ in range(40):
            words.append(WORDS[at])
            at = (at + draw.choice((1, 1, 1, 3))) % len(WORDS)
        return " ".join(words)

    return [sentence() for _ in range(count)]


def build_model(mode: str = "SHARED_PROJECTION_CAST_OUTPUTS", exits=(1, 2, 3), **config):
    from transformers import LlamaConfig, LlamaForCausalLM

    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.3}
    plain = LlamaForCausalLM(LlamaConfig(**{**sizes, **heads, **config}))
    configuration = MultiExitConfiguration(vocab_projection_mode=mode, lm_head_layer_indices=exits)
    return AutoMultiExitModel.from_model(plain, multi_exit_config=configuration).eval()
