"""The contrast of Gera et al. (2023) as a function of two exits' logits, under the name its users know."""

from torch import Tensor

from autocontrastive_gen.modeling.methods.acd import Acd


def calculate_contrasted_logits(
    upper_layer_logits: Tensor, lower_layer_logits: Tensor, minimum_candidates: int = 1, alpha: float = 0.1
) -> Tensor:
    """Log-probabilities (..., V), in float32, of auto-contrastive decoding.

    Args:
        upper_layer_logits: logits (..., V) of the upper exit, in any float type.
        lower_layer_logits: logits (..., V) of the lower exit.
        minimum_candidates: at least this many tokens are plausible.
        alpha: tokens with at least alpha times the largest upper probability are plausible.

    Raises:
        InputError: the shapes differ or a parameter is out of range.

    >>> import torch
    >>> upper, lower = torch.log(torch.tensor([[0.60, 0.38, 0.02], [0.80, 0.10, 0.10]]))
    >>> calculate_contrasted_logits(upper, lower).exp()  # the third token is not plausible and keeps its probability
    tensor([0.1615, 0.8185, 0.0200])
    """
    return Acd(alpha=alpha, minimum_candidates=minimum_candidates)(upper_layer_logits, lower_layer_logits)


# As a contrast_function it stands for the method, which a model evaluates at the plausible tokens alone.
calculate_contrasted_logits.method = Acd  # type: ignore[attr-defined]  # a function takes attributes
