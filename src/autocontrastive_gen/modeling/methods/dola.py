"""Decoding by contrasting layers: at every position, the contrast with the layer that disagrees most."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.arithmetic import few_rows, wide
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import METHODS, Lowers
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.modeling.methods.cd import Cd
from autocontrastive_gen.modeling.over_layers import OverLayers, final_norm_parameter, layers_parameter
from autocontrastive_gen.modeling.over_plausible import outside_parameter
from autocontrastive_gen.modeling.plausible import plausible_mask

NEVER = -1e4
"""Stands for the log of a probability of zero, whose product with zero is zero."""


@METHODS.register
@dataclass(frozen=True)
class Dola(OverLayers):
    """Decoding by contrasting layers (Chuang et al. 2024, equations 1-6; https://arxiv.org/abs/2309.03883).

    Per position, M is the layer whose distribution is farthest from the upper one; then for x in V
    ``log p(x) = log_softmax over V of (log p_u(x) - log p_M(x))``, else ``outside``. How far a layer is:

    * ``paper``: its Jensen-Shannon divergence, ``KL(p_u || m) / 2 + KL(p_l || m) / 2`` with ``m = (p_u + p_l) / 2``
      (equation 4).
    * ``released``: ``KL(m || p_u) / 2 + KL(m || p_l) / 2``, the arguments the other way round, as in the released code.
      That code also averages over the batch and so chooses a layer by what else the batch holds; here every position
      chooses alone, as its code does at batch size 1.

    With several layers, the choice reads whole distributions: the cost of a step is that of the output matrix for every
    layer.

    The released code (https://github.com/voidism/DoLa, ``lm_score`` in ``dola.py``) scores given text otherwise: it
    masks last, and what it sums over the tokens is no distribution. ``normalised_over="vocabulary"`` is its scoring of
    FACTOR, and ``"nothing"`` that of TruthfulQA, where it masks nothing either (``alpha=0``).
    """

    name: ClassVar[str] = "dola"
    _contrast: ClassVar[Cd]
    layers: str | tuple[Exit, ...] = layers_parameter(
        (), "Candidate layers; empty: the lower layer of the contrast alone (the paper's DoLa-static)."
    )
    alpha: float = parameter(
        0.1,
        "Tokens with at least alpha times the largest upper probability are plausible (relative top).",
        low=0,
        high=1,
    )
    variant: str = parameter(
        "paper", "How far a layer is from the upper exit.", kind=str, choices=("paper", "released")
    )
    final_norm: bool = final_norm_parameter()
    outside: float | None = outside_parameter()
    normalised_over: str = parameter(
        "plausible",
        "Over which tokens the contrast is normalised before the others get `outside`: the plausible ones; the whole "
        "vocabulary, as the released code scores FACTOR; or nothing, as it scores TruthfulQA.",
        kind=str,
        choices=("plausible", "vocabulary", "nothing"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Made here and not in a pass: torch.compile can't trace the checks of the parameters.
        object.__setattr__(self, "_contrast", Cd(alpha=self.alpha, outside=self.outside))

    @property
    def is_distribution(self) -> bool:
        """Only if it is normalised over what it keeps."""
        return self.normalised_over == "plausible"

    @property
    def same_choice_as(self) -> Acd | None:
        """With one layer, the contrast with it, as contrastive decoding does."""
        single = not self.layers or (isinstance(self.layers, tuple) and len(self.layers) == 1)
        return Acd(self.alpha) if single and self.final_norm else None

    def evaluate(self, upper_logits: Tensor, lowers: Lowers) -> Tensor:
        """With one layer nothing is chosen, and its logits at the plausible tokens may be enough."""
        if len(lowers.exits) == 1 and self.final_norm and self.is_distribution:
            return self._contrast.evaluate(upper_logits, lowers)
        return super().evaluate(upper_logits, lowers)

    def rows(self, upper: Tensor, lowers: Lowers) -> Tensor:
        """The contrast with the farthest layer of each row."""
        lower = torch.stack(lowers.all_logits(self.final_norm)).float()  # (layers, rows, V)
        distance = _jensen_shannon if self.variant == "paper" else _reversed_divergence
        log_upper = upper.log_softmax(-1)
        distances = torch.stack([few_rows(distance, log_upper, logits) for logits in lower])  # (layers, rows)
        chosen = distances.nan_to_num(nan=-1.0).argmax(0)
        farthest = lower[chosen, torch.arange(len(upper), device=upper.device)]
        return self._contrast.rows(upper, farthest) if self.is_distribution else self._scores(upper, farthest)

    def plausible(self, upper_logits: Tensor) -> Tensor:
        """The tokens that keep a score of their own (relative top)."""
        return plausible_mask(upper_logits, self.alpha)

    def _scores(self, upper: Tensor, lower: Tensor) -> Tensor:
        """Scores (rows, V): the difference of the log-probabilities (rows, V), masked last."""
        log_lower = wide(lower).log_softmax(-1).clamp(min=NEVER)
        scores = wide(upper).log_softmax(-1) - log_lower
        if self.normalised_over == "vocabulary":
            scores = scores.log_softmax(-1)
        outside = -torch.inf if self.outside is None else self.outside
        rest = outside + 0 * scores.amax(-1, keepdim=True)  # NaN in a row that is no distribution
        return torch.where(plausible_mask(upper, self.alpha), scores, rest).float()


def _jensen_shannon(log_p: Tensor, logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence (rows,) in nats of a log-distribution and that of logits, both (rows, V)."""
    log_q = logits.log_softmax(-1)
    p, q, mean = _with_mean(log_p, log_q)
    entropies = [(x * log.clamp(min=NEVER)).sum(-1) for x, log in ((p, log_p), (q, log_q), (mean, mean.log()))]
    return (entropies[0] + entropies[1]) / 2 - entropies[2]


def _reversed_divergence(log_p: Tensor, logits: Tensor) -> Tensor:
    """Half the divergences (rows,) in nats of the mean from a log-distribution and that of logits, both (rows, V)."""
    log_q = logits.log_softmax(-1)
    *_, mean = _with_mean(log_p, log_q)
    return (mean * (mean.log().clamp(min=NEVER) - (log_p.clamp(min=NEVER) + log_q.clamp(min=NEVER)) / 2)).sum(-1)


def _with_mean(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p, q = log_p.exp(), log_q.exp()
    return p, q, (p + q) / 2
