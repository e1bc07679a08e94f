"""A contrast function of one's own, for params.yaml: ``method: examples.half_advice:half_advice``."""

import torch
from torch import Tensor

from autocontrastive_gen.modeling.contrast import resolve


def half_advice(upper_logits: Tensor, lower_logits: Tensor, share: float = 0.5) -> Tensor:
    """Log-probabilities (..., V): a geometric mean of the upper distribution and its contrast (acd).

    Args:
        upper_logits: (..., V) of the upper exit.
        lower_logits: (..., V) of the lower exit.
        share: weight of the contrast, from 0 to 1.
    """
    contrast = resolve("acd")(upper_logits, lower_logits)
    plain = torch.log_softmax(upper_logits.float(), -1)
    return torch.log_softmax(share * contrast + (1 - share) * plain, -1)
