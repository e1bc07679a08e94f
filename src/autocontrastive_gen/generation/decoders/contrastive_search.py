"""Contrastive search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Decoder

if TYPE_CHECKING:
    from torch import Tensor


@DECODERS.register
@dataclass(frozen=True)
class ContrastiveSearch(Decoder):
    """Picks, among the ``top_k`` most likely tokens, one that is likely and unlike every token before it.

    Su et al. 2022, arXiv:2202.06417, equation 5: a candidate v scores
    ``(1 - penalty_alpha) p(v | x) - penalty_alpha max over j of cos(h_v, h_j)``, where j runs over all tokens of prompt
    and continuation. p is the distribution that the model returns, that of its exit or contrast, after both penalties.
    h are the states of the highest layer that runs (the last, or the upper exit's), after the final norm. With
    ``penalty_alpha`` 0 this is greedy search. A candidate of probability zero is never chosen: a contrast may leave
    fewer than ``top_k`` tokens possible.

    One pass computes all candidates of a step over one copy of the cache (``lookahead``). It needs a model that takes
    several tokens at one position, and texts that every layer sees whole.

    Four candidates cost 1.64 times as much as greedy search with one text per batch and 1.35 times with eight
    (SmolLM2-135M in float32, one CPU core, prompts of 32 tokens; ``benchmarks/decode.py``).
    """

    name: ClassVar[str] = "contrastive-search"
    top_k: int = parameter(4, "candidates per step", kind=int, low=1)
    penalty_alpha: float = parameter(0.6, "weight of the degeneration penalty", low=0, high=1)

    @property
    def tokens_per_step(self) -> int:
        return self.top_k

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "custom_generate": self.search}

    def search(
        self, model, input_ids: Tensor, logits_processor, stopping_criteria, generation_config, **inputs: Any
    ) -> Tensor:
        """The decoding loop, for ``model.generate(..., custom_generate=decoder.search)``.

        Returns:
            Prompts and continuations, (B, T + new tokens); texts that end early are padded.

        Raises:
            InputError: the model cannot be used (``require_lookahead``).
        """
        import torch

        from autocontrastive_gen.generation.lookahead import Lookahead, require_lookahead

        require_lookahead(model, generation_config.max_length + self.top_k)
        mask = inputs.get("attention_mask")
        ahead = Lookahead(model, input_ids, torch.ones_like(input_ids) if mask is None else mask)
        running = torch.ones_like(input_ids[:, :1], dtype=torch.bool)
        while bool(running.any()):
            scores = logits_processor(input_ids, ahead.logits.to(torch.float32, copy=True))
            probabilities, candidates = scores.softmax(-1).topk(min(self.top_k, scores.shape[-1]))
            chosen = self._best(probabilities, ahead.states, ahead.look(candidates), ahead.mask)
            ahead.keep(chosen)
            token = candidates.gather(1, chosen[:, None])
            if not running.all():
                token = token.where(running, token.new_tensor(generation_config.pad_token_id))
            input_ids = torch.cat([input_ids, token], dim=1)
            running &= ~stopping_criteria(input_ids, None)[:, None]
        return input_ids

    def _best(self, probabilities: Tensor, before: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Index (B,) of the candidate with the highest score.

        Args:
            probabilities: of the candidates, (B, k).
            before: states of the text, (B, T, d).
            states: states of the candidates, (B, k, d).
            mask: 0 at padding, (B, T).
        """
        from torch.nn.functional import normalize

        cosines = normalize(states.float(), dim=-1) @ normalize(before.float(), dim=-1).mT  # (B, k, T)
        likeness = cosines.masked_fill(mask[:, None] == 0, -2).amax(-1)
        scores = (1 - self.penalty_alpha) * probabilities - self.penalty_alpha * likeness
        return scores.masked_fill(probabilities == 0, float("-inf")).argmax(-1)
