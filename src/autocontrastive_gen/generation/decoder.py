"""Decoders: how the next token is picked from what the model says, by name and with parameters of their own.

A decoder is a frozen dataclass in a file of ``decoders/``. It adds to greedy search what it needs: arguments of
transformers' ``generate``, or logits processors of which the last one may draw (``sampling.GumbelMax``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocontrastive_gen.foundation.named import Named, Registry, parameter

if TYPE_CHECKING:
    from transformers import LogitsProcessor


@dataclass(frozen=True)
class Decoder(Named):
    """A way to pick tokens; this base is greedy search with what every decoder may add to it.

    Both parameters are transformers' own processors and act before everything else on the scores that the model
    returns: the logits of an exit, or the log-probabilities of a contrast. Both look at the prompt as well as at the
    continuation, as they do in transformers.
    """

    kind: ClassVar[str] = "decoder"
    repetition_penalty: float = parameter(
        1.0,
        "scores of tokens that the prompt or the continuation holds already are divided by it if positive and "
        "multiplied by it if negative (Keskar et al. 2019, arXiv:1909.05858, section 4.1); 1 changes nothing",
        above=0,
    )
    no_repeat_ngram_size: int = parameter(
        0, "no n-gram of this size occurs twice in prompt and continuation together; 0 allows all", kind=int, low=0
    )

    @property
    def tokens_per_step(self) -> int:
        """Tokens that the model computes for each new token of a text."""
        return 1

    def arguments(self) -> dict[str, Any]:
        """Arguments of transformers' ``generate``, in addition to those of plain greedy search."""
        return {
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size or None,
        }

    def processors(self, prompt_ids: Sequence[str], seed: int) -> list[LogitsProcessor]:
        """Logits processors of one batch, in the order in which they act.

        Args:
            prompt_ids: the id of the prompt of each row of the batch.
            seed: of the run; with the prompt's id and the step it seeds whatever is random.
        """
        return []


@dataclass(frozen=True)
class Sampler(Decoder):
    """A decoder that draws the next token: temperature first, then ``warpers``, then the draw."""

    temperature: float = parameter(
        1.0, "divides the scores before sampling; below 1 the distribution gets sharper, above 1 flatter", above=0
    )

    def warpers(self) -> list[LogitsProcessor]:
        """Processors that narrow the distribution down to the tokens that may be drawn."""
        return []

    def processors(self, prompt_ids: Sequence[str], seed: int) -> list[LogitsProcessor]:
        from transformers import TemperatureLogitsWarper

        from autocontrastive_gen.generation.sampling import GumbelMax

        heat = [] if self.temperature == 1 else [TemperatureLogitsWarper(self.temperature)]
        return [*heat, *self.warpers(), GumbelMax(prompt_ids, seed)]


DECODERS: Registry[Decoder] = Registry("decoder", "autocontrastive_gen.generation.decoders")
"""Every decoder by name; ``DECODERS.build("top-p", {"top_p": 0.9})`` makes one."""
