"""Ways to combine the distributions of several exits into one; all work in log space and return float32.

Notation: ``p_u`` the upper exit's distribution, ``p_l`` a lower exit's, ``V`` the plausible set of ``p_u``
(``plausible.py``). A distribution over V does not change when ``log p_l`` loses its normaliser, so the methods that
need only V take unnormalised lower logits at the tokens of V.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.plausible import FIRST_LOOK, Candidates, plausible_candidates, plausible_mask

CHUNK = 1 << 22
"""Logits combined at once (elements): bounds the float64 temporaries to some 100 MB whatever the batch."""
DENSE_SHARE = 32
"""With more than this fraction (1 / 32) of the vocabulary plausible, the whole of it is combined at once."""
STAND_IN = 1e9
"""Stands for an infinite lower logit: beyond all others, yet float64 still tells p_u apart beside it."""


class Method:
    """A named way to combine exits: a frozen dataclass, called like any contrast function.

    ``method(upper_logits, lower_logits)`` takes two equally shaped (..., V) tensors and returns log-probabilities.
    ``needs`` says what else a model may use instead, to compute less:

    * ``"candidates"``: ``candidates(upper_logits)``, then ``at_candidates`` with the lower logits only there;
    * ``"layers"``: ``combine(upper_logits, {layer: logits})`` with the layers in ``layers`` (empty: the lower exit);
    * ``"lower"``: both in full;
    * ``"upper"``: no lower exit at all, ``combine(upper_logits, {})``.
    """

    name: ClassVar[str]
    needs: ClassVar[Literal["candidates", "lower", "layers", "upper"]] = "lower"

    def __call__(self, upper_logits: Tensor, lower_logits: Tensor) -> Tensor:
        raise NotImplementedError

    def _require(self, field: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise InputError(f"{field} of {self.name} must be {allowed}, got {getattr(self, field)!r}")


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _wide(logits: Tensor) -> Tensor:
    # Differences of logits cancel: only float64 keeps the result exact to float32 at extreme gaps. MPS has none.
    return logits.float() if logits.device.type == "mps" else logits.double()


def _in_chunks(function: Callable[..., Tensor], upper: Tensor, *others: Tensor) -> Tensor:
    """Apply a function of (rows, V) float32 tensors piece by piece to tensors of one shape (..., V)."""
    for other in others:
        if other.shape != upper.shape:
            raise InputError(
                f"the exits' logits must have one shape, got {tuple(upper.shape)} and {tuple(other.shape)}; "
                "project the same positions through each exit"
            )
    flat = [x.reshape(-1, x.shape[-1]) for x in (upper, *others)]
    rows = max(1, CHUNK // upper.shape[-1])
    pieces = [function(*(x.float() for x in piece)) for piece in zip(*(x.split(rows) for x in flat), strict=True)]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(upper.shape)


def _scatter(base: Tensor, token_ids: Tensor, values: Tensor) -> Tensor:
    # In place where no gradient needs the base: one pass over the vocabulary less.
    needs_copy = base.requires_grad or values.requires_grad
    return base.scatter(-1, token_ids, values) if needs_copy else base.scatter_(-1, token_ids, values)


@dataclass(frozen=True)
class _Contrast(Method):
    """What the contrasts over the plausible set share: its bounds, the score, both paths."""

    needs: ClassVar = "candidates"
    alpha: float = 0.1
    """Plausible are the tokens with at least alpha times the largest upper probability."""
    minimum_candidates: int = 1
    """At least so many tokens are plausible (ties included)."""
    temperature: float = 1.0
    """Divides the lower exit's logits."""

    def __post_init__(self) -> None:
        self._require("alpha", _is_number(self.alpha, 0, 1), "a number from 0 to 1")
        whole = isinstance(self.minimum_candidates, int) and _is_number(self.minimum_candidates, 1, math.inf)
        self._require("minimum_candidates", whole, "a whole number of at least 1")
        positive = _is_number(self.temperature, 0, math.inf) and 0 < self.temperature < math.inf
        self._require("temperature", positive, "a positive number")

    def __call__(self, upper_logits: Tensor, lower_logits: Tensor) -> Tensor:
        """Log-probabilities (..., V) in float32 from the two exits' logits (..., V) in any float type."""
        return _in_chunks(self._full, upper_logits, lower_logits)

    def candidates(self, upper_logits: Tensor) -> Candidates | None:
        """The tokens at which ``at_candidates`` wants the lower logits; None: so many that all logits cost less."""
        upper = upper_logits.detach().reshape(-1, upper_logits.shape[-1]).float()
        rows, size = upper.shape
        return plausible_candidates(upper, self.alpha, self.minimum_candidates, candidate_limit(rows, size))

    def at_candidates(self, upper_logits: Tensor, candidates: Candidates, lower_at: Tensor) -> Tensor:
        """The same log-probabilities (..., V) from lower logits (rows, K) at ``candidates.token_ids`` alone."""
        upper = upper_logits.reshape(-1, upper_logits.shape[-1]).float()
        upper_at = upper.gather(-1, candidates.token_ids)
        base = self._base(upper)
        base_at = base.gather(-1, candidates.token_ids)
        values = self._over_plausible(upper_at, lower_at, base_at, candidates.mask)
        return _scatter(base, candidates.token_ids, values).view(upper_logits.shape)

    def _full(self, upper: Tensor, lower: Tensor) -> Tensor:
        """Both exits' logits (rows, V) at hand: few plausible tokens are still picked out, for float64 is slow."""
        found = plausible_candidates(
            upper.detach(), self.alpha, self.minimum_candidates, limit=upper.shape[-1] // DENSE_SHARE
        )
        if found is not None:
            return self.at_candidates(upper, found, lower.gather(-1, found.token_ids))
        mask = plausible_mask(upper.detach(), self.alpha, self.minimum_candidates)
        return self._over_plausible(upper, lower, self._base(upper), mask)

    def _over_plausible(self, upper: Tensor, lower: Tensor, base: Tensor, mask: Tensor) -> Tensor:
        """``base`` with its plausible entries replaced; all (rows, K) at the same tokens."""
        lower = _wide(lower).nan_to_num(nan=torch.nan, posinf=STAND_IN, neginf=-STAND_IN)
        score = (_wide(upper) - lower / self.temperature).masked_fill(~mask, -torch.inf)
        contrasted = score.log_softmax(-1) + self._log_mass(base, mask)
        return torch.where(mask, contrasted.float(), base)

    def _base(self, upper: Tensor) -> Tensor:
        """Log-probabilities of the tokens that are not plausible, before the others are replaced."""
        raise NotImplementedError

    def _log_mass(self, base: Tensor, mask: Tensor) -> Tensor | float:
        """The log of the mass shared out among the plausible tokens."""
        raise NotImplementedError


@dataclass(frozen=True)
class Acd(_Contrast):
    """Auto-contrastive decoding (Gera et al. 2023, equations 1-4; https://arxiv.org/abs/2305.01628).

    For x in V: ``p(x) = softmax over V of (log p_u(x) - log p_l(x)) * sum over V of p_u``; else ``p(x) = p_u(x)``.
    """

    name: ClassVar = "acd"

    def _base(self, upper: Tensor) -> Tensor:
        return upper.log_softmax(-1)

    def _log_mass(self, base: Tensor, mask: Tensor) -> Tensor:
        return _wide(base).masked_fill(~mask, -torch.inf).logsumexp(-1, keepdim=True)


@dataclass(frozen=True)
class Cd(_Contrast):
    """Contrastive decoding (Li et al. 2022, equations 2-4; https://arxiv.org/abs/2210.15097).

    For x in V: ``log p(x) = log_softmax over V of (log p_u(x) - log p_l(x))``; else minus infinity. ``temperature``
    is the student's (their amateur's): ``p_l = softmax(logits / temperature)``.
    """

    name: ClassVar = "cd"

    def _base(self, upper: Tensor) -> Tensor:
        # A row that is no distribution gives NaN, here as in every other method.
        return torch.full_like(upper, -torch.inf) + 0 * upper.amax(-1, keepdim=True)

    def _log_mass(self, base: Tensor, mask: Tensor) -> float:
        return 0.0


@dataclass(frozen=True)
class Uncontrasted(Method):
    """The upper exit alone: ``log p = log p_u``."""

    name: ClassVar = "none"
    needs: ClassVar = "upper"

    def __call__(self, upper_logits: Tensor, lower_logits: Tensor) -> Tensor:
        return self.combine(upper_logits, {})

    def combine(self, upper_logits: Tensor, lower: Mapping[int | str, Tensor]) -> Tensor:
        """Log-probabilities (..., V) of the upper exit."""
        return upper_logits.float().log_softmax(-1)


def entries(value: object, number: Callable[[str], float]) -> tuple:
    """One entry, several, or their string form (``"2;4"``) as a tuple; what is no number stays as it is."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(";") if part.strip()]
        return tuple(_number(part, number) for part in parts)
    return tuple(value or ()) if isinstance(value, list | tuple | None) else (value,)


def _number(text: str, number: Callable[[str], float]) -> float | str:
    try:
        return number(text)
    except ValueError:
        return text


class _OverLayers(Method):
    """What the methods over several lower exits share."""

    needs: ClassVar = "layers"
    layers: tuple[int | str, ...]

    def __call__(self, upper_logits: Tensor, lower_logits: Tensor) -> Tensor:
        """The plain contract: the lower exit given is the only one."""
        return self.combine(upper_logits, {"lower": lower_logits})

    def _check_layers(self) -> None:
        object.__setattr__(self, "layers", entries(self.layers, int))
        ok = all(type(layer) is int or layer == "original" for layer in self.layers)
        self._require(
            "layers", ok and len(set(self.layers)) == len(self.layers), "distinct layers (whole numbers, or 'original')"
        )

    def combine(self, upper_logits: Tensor, lower: Mapping[int | str, Tensor]) -> Tensor:
        """Log-probabilities (..., V) from the upper logits and those of each lower exit, in the order of ``layers``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dola(_OverLayers):
    """Decoding by contrasting layers (Chuang et al. 2024, equations 1-6; https://arxiv.org/abs/2309.03883).

    Per position, M is the layer whose distribution is farthest from the upper one by Jensen-Shannon divergence; then
    for x in V ``log p(x) = log_softmax over V of (log p_u(x) - log p_M(x))``, else minus infinity.
    """

    name: ClassVar = "dola"
    layers: tuple[int | str, ...] = ()
    """Candidate layers; empty: the lower layer of the contrast alone."""
    alpha: float = 0.1
    """Plausible are the tokens with at least alpha times the largest upper probability."""

    def __post_init__(self) -> None:
        self._check_layers()
        self._require("alpha", _is_number(self.alpha, 0, 1), "a number from 0 to 1")

    def combine(self, upper_logits: Tensor, lower: Mapping[int | str, Tensor]) -> Tensor:
        return _in_chunks(self._rows, upper_logits, *lower.values())

    def _rows(self, upper: Tensor, *lower: Tensor) -> Tensor:
        farthest = lower[0]
        if len(lower) > 1:
            divergence = torch.stack(_jensen_shannon(upper, lower))  # (layers, rows)
            chosen = divergence.nan_to_num(nan=-1.0).argmax(0)
            farthest = torch.stack(lower)[chosen, torch.arange(len(upper), device=upper.device)]
        return Cd(alpha=self.alpha)._full(upper, farthest)


def _jensen_shannon(upper: Tensor, lower: tuple[Tensor, ...]) -> list[Tensor]:
    """Divergence (rows,) in nats between the upper logits (rows, V) and each lower one: H(m) - H(p)/2 - H(q)/2."""
    p = _wide(upper).softmax(-1)
    divergences = []
    for logits in lower:
        q = _wide(logits).softmax(-1)
        negative = [torch.xlogy(x, x).sum(-1) for x in (p, q, (p + q) / 2)]
        divergences.append((negative[0] + negative[1]) / 2 - negative[2])
    return divergences


@dataclass(frozen=True)
class Ensemble(_OverLayers):
    """A mixture of exits: ``p = w_u p_u + sum over layers of w_l p_l``, with ``w_u = 1 - sum of w_l``.

    A linear opinion pool (Stone 1961); equal weights for the upper exit and each layer unless ``weights`` are given.
    Weights that sum to one leave the upper exit out.
    """

    name: ClassVar = "ensemble"
    layers: tuple[int | str, ...] = ()
    """Lower layers of the mixture; empty: the lower layer of the contrast alone."""
    weights: tuple[float, ...] = ()
    """One weight for each of ``layers``; the upper exit has the rest."""

    def __post_init__(self) -> None:
        self._check_layers()
        weights = entries(self.weights, float)
        object.__setattr__(self, "weights", weights)
        ok = all(_is_number(w, 0, 1) for w in weights) and sum(weights) <= 1 + 1e-6
        self._require("weights", ok, "numbers from 0 to 1 with a sum of at most 1 (the upper exit has the rest)")
        count = len(self.layers) or 1
        self._require("weights", len(weights) in (0, count), f"{count} numbers, one for each of layers")

    def combine(self, upper_logits: Tensor, lower: Mapping[int | str, Tensor]) -> Tensor:
        return _in_chunks(self._rows, upper_logits, *lower.values())

    def _rows(self, upper: Tensor, *lower: Tensor) -> Tensor:
        weights = self.weights or (1 / (len(lower) + 1),) * len(lower)
        log_mixture = None
        for weight, logits in zip((max(0.0, 1 - math.fsum(weights)), *weights), (upper, *lower), strict=True):
            if weight > 1e-9:  # else what is left of 1 - sum is rounding
                part = logits.log_softmax(-1) + math.log(weight)
                log_mixture = part if log_mixture is None else torch.logaddexp(log_mixture, part)
        return log_mixture


def candidate_limit(rows: int, vocabulary: int) -> int:
    """The largest plausible set for which gathering rows of a head costs less than multiplying with all of it.

    A fit to times on one CPU core (heads of 49,152 x 576 and 50,257 x 1,024; 1, 8, 64 and 512 rows). The product reads
    the head once however many rows there are and computes for each; gathering does both for each candidate.
    """
    return max(FIRST_LOOK, vocabulary // 200 + vocabulary // (10 * max(rows, 1)))


def method_fields(method: type[Method] | Method) -> tuple[str, ...]:
    """Names of the parameters of a method."""
    return tuple(field.name for field in fields(method))
