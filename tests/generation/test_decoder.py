"""Decoders are found by name, and their classes alone state their parameters."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import Registry, describe, parameter
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS, Decoder, Sampler

EVERYONE = {"repetition_penalty", "no_repeat_ngram_size"}
OWN = {
    "contrastive-search": {"top_k", "penalty_alpha"},
    "beam": {"num_beams"},
    "greedy": set(),
    "min-p": {"min_p", "temperature"},
    "temperature": {"temperature"},
    "top-k": {"top_k", "temperature"},
    "top-p": {"top_p", "temperature"},
    "typical": {"typical_p", "temperature"},
}


def test_the_decoders_and_their_parameters():
    assert {name: set(DECODERS.build(name, {}).parameters) - EVERYONE for name in DECODERS} == OWN
    for name in DECODERS:
        assert all(each_help and allowed for _, _, allowed, each_help in describe(DECODERS[name]))


def test_parameters_are_read_and_come_back_in_full():
    decoder = DECODERS.build("top-p", {"top_p": "0.5", "repetition_penalty": 2})
    assert decoder.parameters == {
        "repetition_penalty": 2.0,
        "no_repeat_ngram_size": 0,
        "temperature": 1.0,
        "top_p": 0.5,
    }
    assert DECODERS.build(decoder.name, decoder.parameters) == decoder


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("beem", {}, r"'beem' is not a decoder; there are: .*did you mean beam\?"),
        ("beam", {"num_beam": 4}, r"beam has no parameter 'num_beam'; .*did you mean num_beams\?"),
        ("beam", {"num_beams": 1}, "num_beams of beam must be a whole number of at least 2, got 1"),
        ("top-p", {"top_p": 0}, "top_p of top-p must be a number above 0 and of at most 1, got 0"),
        ("min-p", {"min_p": 1.5}, "min_p of min-p must be a number from 0 to 1, got 1.5"),
        ("greedy", {"repetition_penalty": 0}, "repetition_penalty of greedy must be a number above 0, got 0"),
        ("greedy", {"temperature": 2}, "greedy has no parameter 'temperature'"),
    ],
)
def test_messages_name_what_a_decoder_does_not_take(name, parameters, message):
    with pytest.raises(InputError, match=message):
        DECODERS.build(name, parameters)


def test_the_catalogue_can_be_read_without_torch():
    """So that checking parameters does not wait for torch."""
    code = (
        "import sys; from autocontrastive_gen.generation.decoder import DECODERS; "
        "assert DECODERS.build('top-p', {}).top_p == 0.95; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_decoder_of_the_users_own_runs_like_the_others(model, tokenizer, prompts):
    own: Registry[Decoder] = Registry("decoder", "autocontrastive_gen.generation.decoders")

    @own.register
    @dataclass(frozen=True)
    class Epsilon(Sampler):
        """Truncation at a probability (Hewitt et al. 2022)."""

        name: ClassVar[str] = "epsilon"
        epsilon: float = parameter(3e-4, "smallest probability that is drawn", above=0, high=1)

        def warpers(self):
            from transformers import EpsilonLogitsWarper

            return [EpsilonLogitsWarper(self.epsilon)]

    only_the_best = generate_texts(model, tokenizer, prompts, own.build("epsilon", {"epsilon": 0.9}), 5, 0, 4)
    assert only_the_best == generate_texts(model, tokenizer, prompts, own.build("epsilon", {"epsilon": 0.9}), 5, 1, 9)
    assert only_the_best == generate_texts(model, tokenizer, prompts, DECODERS.build("greedy", {}), 5, 0, 4)
