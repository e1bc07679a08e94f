"""Contrast over the plausible set of the upper exit, from the lower logits at its tokens alone where that is cheaper.

A distribution over the plausible set does not change when the lower log-probabilities lose their normaliser, so
unnormalised lower logits at its tokens are enough.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.arithmetic import in_chunks, scatter, wide
from autocontrastive_gen.modeling.method import Lowers, Method
from autocontrastive_gen.modeling.plausible import (
    Candidates,
    first_candidates,
    plausible_candidates,
    plausible_mask,
)

DENSE_SHARE = 32
"""With more than this fraction (1 / 32) of the vocabulary plausible, the whole of it is combined at once."""
COMPILED_WIDTH = 64
"""Tokens per position in a compiled graph; greedy text of SmolLM2 has more plausible ones at 0.1 % of its positions."""
STAND_IN = 1e9
"""Stands for an infinite lower logit: beyond all others, yet float64 still tells upper logits apart beside it."""


def outside_parameter() -> Any:
    """The field ``outside`` of a method whose other tokens have no probability."""
    return parameter(
        None,
        "Log-probability of the tokens that are not plausible, such as the -1000 with which DoLa is scored; null: "
        "minus infinity.",
        high=-100,  # so little that the plausible tokens still have all the mass
        optional=True,
    )


@dataclass(frozen=True)
class OverPlausible(Method):
    """What the contrasts over the plausible set share; subclasses state the parameters and what the rest gets."""

    alpha: float
    minimum_candidates: int
    temperature: float

    def evaluate(self, upper_logits: Tensor, lowers: Lowers) -> Tensor:
        """From lower logits at the plausible tokens, or from all of them where there are too many to pick out."""
        (lower,) = lowers.exits
        upper = upper_logits.reshape(-1, upper_logits.shape[-1]).float()
        limit = lowers.candidate_limit(lower, len(upper))
        if torch.compiler.is_compiling():
            return self._compiled(upper, lowers, min(limit, COMPILED_WIDTH)).view(upper_logits.shape)
        found = plausible_candidates(upper.detach(), self.alpha, self.minimum_candidates, limit) if limit else None
        if found is None:
            return in_chunks(self.rows, upper_logits, lowers.logits(lower))
        return self._at(upper, found, lowers.logits_at(lower, found.token_ids)).view(upper_logits.shape)

    def _compiled(self, upper: Tensor, lowers: Lowers, width: int) -> Tensor:
        """The same in a graph, whose shapes are fixed: from the ``width`` most likely tokens, if they are all that is
        plausible in each row, else from all; which of the two is decided as the graph runs."""

        def whole() -> Tensor:
            return self.rows(upper, lowers.logits(lowers.exits[0]).flatten(0, -2).float())

        if torch.is_grad_enabled() or not self.minimum_candidates < width < upper.shape[-1]:
            return whole()
        found = first_candidates(upper, self.alpha, self.minimum_candidates, width)
        lowers.states(lowers.exits[0])  # normed before the branches, which may not keep anything

        def at_candidates() -> Tensor:
            return self._at(upper, found, lowers.logits_at(lowers.exits[0], found.token_ids))

        return torch.cond(found.mask[:, -1].any(), whole, at_candidates)

    def rows(self, upper: Tensor, lower: Tensor) -> Tensor:
        """Log-probabilities (rows, V) from both exits' logits (rows, V) in float32."""
        if not torch.compiler.is_compiling():  # a compiled graph can't look at how many tokens are plausible
            limit = upper.shape[-1] // DENSE_SHARE  # few of them are picked out even here: float64 is slow
            found = plausible_candidates(upper.detach(), self.alpha, self.minimum_candidates, limit)
            if found is not None:
                return self._at(upper, found, lower.gather(-1, found.token_ids))
        mask = plausible_mask(upper.detach(), self.alpha, self.minimum_candidates)
        return self._contrasted(upper, lower, self._base(upper), mask)

    def plausible(self, upper_logits: Tensor) -> Tensor:
        """The plausible set of the upper exit."""
        return plausible_mask(upper_logits, self.alpha, self.minimum_candidates)

    def _at(self, upper: Tensor, candidates: Candidates, lower_at: Tensor) -> Tensor:
        """Log-probabilities (rows, V) from upper logits (rows, V) and lower logits (rows, K) at the candidates."""
        token_ids, base = candidates.token_ids, self._base(upper)
        values = self._contrasted(upper.gather(-1, token_ids), lower_at, base.gather(-1, token_ids), candidates.mask)
        return scatter(base, token_ids, values)

    def _contrasted(self, upper: Tensor, lower: Tensor, base: Tensor, mask: Tensor) -> Tensor:
        """``base`` with its plausible entries replaced; all (rows, K) at the same tokens."""
        lower = wide(lower).nan_to_num(nan=torch.nan, posinf=STAND_IN, neginf=-STAND_IN)
        score = (wide(upper) - lower / self.temperature).masked_fill(~mask, -torch.inf)
        contrasted = score.log_softmax(-1) + self._log_mass(base, mask)
        return torch.where(mask, contrasted.float(), base)

    @abstractmethod
    def _base(self, upper: Tensor) -> Tensor:
        """Log-probabilities (rows, V) of the tokens that are not plausible."""

    @abstractmethod
    def _log_mass(self, base: Tensor, mask: Tensor) -> Tensor | float:
        """The log of the mass shared out among the plausible tokens."""
