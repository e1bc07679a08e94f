"""Quality of exits on held-out text, against a slow computation a block at a time."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from tiny import WordTokenizer, build_model, texts

from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.training.blocks import pack
from autocontrastive_gen.training.exits import Exits
from autocontrastive_gen.training.quality import Validation, pooled_perplexity
from autocontrastive_gen.training.states import FrozenTrunk

SIZE = 16


def measure(model, tokens: int):
    exits = Exits(model)
    trunk = FrozenTrunk(model, (*exits.layers, exits.final))
    domains = {"one": texts(8, seed=1), "two": texts(8, seed=2)}
    return Validation(trunk, WordTokenizer(), domains, SIZE, tokens, Processes()).measure(exits, bf16=False)


@torch.no_grad()
def slowly(model, name, tokens: int) -> dict[str, float]:
    """The same numbers of domain ``one``, each block by itself through the model's own forward."""
    surprise, entropy, agreed = [], [], []
    for block in islice(pack(texts(8, seed=1), WordTokenizer(), SIZE), tokens // SIZE):
        ids = torch.tensor(block)[None]
        with model.set_exits():
            final = model(ids).logits[0, :-1].double().log_softmax(-1)
        with model.set_exits(**({} if name == "original" else {"output_layer_index": name})):
            found = model(ids).logits[0, :-1].double().log_softmax(-1)
        surprise.append(-found.gather(1, ids[0, 1:, None]).mean().item())
        entropy.append(-(found.exp() * found).sum(-1).mean().item())
        agreed.append((found.argmax(-1) == final.argmax(-1)).double().mean().item())
    blocks = len(agreed)
    return {
        "perplexity": math.exp(np.mean(surprise)),
        "agreement": np.mean(agreed),
        "entropy": np.mean(entropy),
        "tokens": blocks * (SIZE - 1),
        "nll_error": np.std(surprise, ddof=1) / math.sqrt(blocks),
        "agreement_error": np.std(agreed, ddof=1) / math.sqrt(blocks),
    }


def test_every_exit_and_the_original_head():
    model = build_model()
    quality = measure(model, 128)
    for name in ("original", 1, 2, 3):
        assert quality["one"][str(name)] == pytest.approx(slowly(model, name, 128), rel=1e-4, abs=1e-7), name
    assert quality["one"]["original"]["agreement_error"] == 0


def test_one_block_has_no_standard_error():
    one = measure(build_model(), SIZE)["one"]["2"]
    assert one["tokens"] == SIZE - 1 and "nll_error" not in one and "agreement_error" not in one


def test_the_perplexity_of_all_domains_together():
    quality = measure(build_model(), 128)
    sums = [(row["2"]["tokens"], math.log(row["2"]["perplexity"])) for row in quality.values()]
    mean = sum(tokens * value for tokens, value in sums) / sum(tokens for tokens, _ in sums)
    assert pooled_perplexity(quality, 2) == pytest.approx(math.exp(mean))
