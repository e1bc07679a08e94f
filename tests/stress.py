"""Logits at the ends of what a model may give, and the contrasts that have to bear them."""

import torch
from torch import Tensor

from autocontrastive_gen.modeling.method import METHODS, Method

LARGE = 1e4
"""A logit far beyond those of any model, yet one that float16 holds."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

OTHER_PARAMETERS = {
    "acd": [{"alpha": 0.0}, {"alpha": 1.0, "minimum_candidates": 5}, {"temperature": 0.1}],
    "cd": [{"alpha": 0.0}, {"minimum_candidates": 40}, {"outside": -1000}],
    "delta": [{"layers": "all"}, {"layers": "all", "beyond": 3.0, "alpha": 0.0}, {"outside": -1000}],
    "dola": [{"layers": "all"}, {"layers": "all", "variant": "released"}, {"alpha": 0.0, "outside": -1000}],
    "ensemble": [{"layers": "all"}, {"layers": "2;4", "weights": "0.5;0.5"}],
    "sled": [{"layers": ()}, {"evolution_scale": 100, "evolution_rate": 10.0, "evolution_steps": 10}],
}
"""Parameters that lead a method along another way than its defaults do."""


def contrasts() -> list[Method]:
    """Every registered contrast with its defaults, and with its ``OTHER_PARAMETERS``."""
    return [METHODS.build(name, parameters) for name in METHODS for parameters in [{}, *OTHER_PARAMETERS.get(name, [])]]


def title(method: Method) -> str:
    """A contrast's name and the parameters that are no defaults."""
    defaults = METHODS.build(method.name, {}).parameters
    return " ".join([method.name, *(f"{k}={v}" for k, v in method.parameters.items() if v != defaults[k])])


def usual(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """No stress: logits of the usual size."""
    return torch.randn(shape, generator=draw) * 3


def extremes(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Every logit is as large or as small as can be."""
    return (torch.randint(0, 2, shape, generator=draw) * 2 - 1) * LARGE


def ties(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Three different logits."""
    return torch.randint(0, 3, shape, generator=draw).float()


def equal(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """No token differs from another in any exit."""
    return torch.zeros(shape)


def one_certain(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """One token has all the mass, a different one in each exit and row."""
    chosen = torch.randint(0, shape[-1], (*shape[:-1], 1), generator=draw)
    return torch.full(shape, -LARGE).scatter(-1, chosen, LARGE)


def one_possible(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """The first token alone can be said, by any exit."""
    logits = torch.full(shape, -torch.inf)
    logits[..., 0] = usual(shape[:-1], draw)
    return logits


def masked_columns(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Half of the tokens can't be said by any exit, as where a vocabulary is padded."""
    return usual(shape, draw).masked_fill(torch.arange(shape[-1]) % 2 == 1, -torch.inf)


def masked_above(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Half of the tokens can't be said by the upper exit."""
    logits = usual(shape, draw)
    logits[0] = logits[0].masked_fill(torch.arange(shape[-1]) % 2 == 1, -torch.inf)
    return logits


def masked_below(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Half of the tokens can't be said by the lower exits."""
    logits = usual(shape, draw)
    logits[1:] = logits[1:].masked_fill(torch.arange(shape[-1]) % 2 == 1, -torch.inf)
    return logits


def far_from_zero(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Small differences between logits that are all large."""
    return LARGE / 2 + usual(shape, draw)


def far_below_zero(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """The same below zero."""
    return usual(shape, draw) - LARGE / 2


STRESSES = (
    usual, extremes, ties, equal, one_certain, one_possible, masked_columns, masked_above, masked_below,
    far_from_zero, far_below_zero,
)  # fmt: skip
"""Functions from a shape (exits, ..., V), the upper exit's first, and a generator to logits in float32."""
