"""Decoders: named ways to pick the next token, each with parameters of its own.

A decoder is a frozen dataclass in a file of its own in ``decoders/``. It extends greedy search by arguments of
transformers' ``generate`` or by logits processors, the last of which may draw a token (``sampling.GumbelMax``).
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
    """A way to pick tokens; the base class is greedy search with the two parameters that every decoder takes.

    Both are transformers' own processors. They count the prompt as well as the continuation, and they act before
    everything else, on the scores that the model returns: the logits of an exit, or the log-probabilities of a contrast
    (which are negative, so that ``repetition_penalty`` always multiplies them).
    """

    kind: ClassVar[str] = "decoder"
    repetition_penalty: float = parameter(
        1.0,
        "divides the positive scores and multiplies the negative scores of tokens that occur in the prompt or the "
        "continuation (Keskar et al. 2019, arXiv:1909.05858, section 4.1); 1 turns it off",
        above=0,
    )
    no_repeat_ngram_size: int = parameter(
        0, "no n-gram of this size occurs twice in prompt and continuation; 0 turns it off", kind=int, low=0
    )

    @property
    def tokens_per_step(self) -> int:
        """Tokens that the model processes per new token of a text: the cost of the decoder."""
        return 1

    @property
    def follows_one_text(self) -> bool:
        """Whether each row of ``generate`` is one text from beginning to end, as in neither a search nor a loop of the
        decoder's own."""
        return not {"num_beams", "custom_generate"} & self.arguments().keys()

    def arguments(self) -> dict[str, Any]:
        """Arguments of transformers' ``generate`` beyond those of plain greedy search."""
        return {
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size or None,
        }

    def processors(self, prompt_ids: Sequence[str], seed: int) -> list[LogitsProcessor]:
        """Logits processors for one batch, in the order in which they act.

        Args:
            prompt_ids: the id of each row's prompt.
            seed: the run's seed; together with the prompt's id and the step it seeds whatever is random.
        """
        return []


@dataclass(frozen=True)
class Sampler(Decoder):
    """A decoder that draws the next token: first the temperature acts, then ``warpers``, then the draw."""

    temperature: float = parameter(
        1.0, "divides the scores; below 1 the distribution gets sharper, above 1 flatter", above=0
    )

    def warpers(self) -> list[LogitsProcessor]:
        """Processors that exclude the tokens that may not be drawn."""
        return []

    def processors(self, prompt_ids: Sequence[str], seed: int) -> list[LogitsProcessor]:
        from transformers import TemperatureLogitsWarper

        from autocontrastive_gen.generation.sampling import GumbelMax

        heat = [] if self.temperature == 1 else [TemperatureLogitsWarper(self.temperature)]
        return [*heat, *self.warpers(), GumbelMax(prompt_ids, seed)]


DECODERS: Registry[Decoder] = Registry("decoder", "autocontrastive_gen.generation.decoders")
"""Every decoder by name; ``DECODERS.build("top-p", {"top_p": 0.9})`` makes one."""
