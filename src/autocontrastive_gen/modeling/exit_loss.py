"""The loss that trains the exits of a model: the sum over its exits of the mean cross-entropy."""

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from autocontrastive_gen.modeling.exit_states import ExitStates

OPTIONS = ("num_items_in_batch", "ignore_index", "shift_labels")
"""Arguments of a forward that belong to the loss, as transformers' ``Trainer`` gives them."""


def exit_loss(
    model: Any, logits: Tensor, states: ExitStates | None, labels: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """Sum over the exits of the mean cross-entropy; without states, the cross-entropy of ``logits``.

    Args:
        model: a multi-exit model.
        logits: (B, T, V), what the forward returns.
        states: final-normed states of every layer with an exit.
        labels: (B, T).
        arguments: of the forward, by name.
    """
    options = {name: arguments[name] for name in OPTIONS if arguments.get(name) is not None}
    if model.config.is_encoder_decoder:
        options["shift_labels"] = labels  # the decoder's inputs were shifted instead
    loss = functools.partial(model.loss_function, labels=labels, vocab_size=logits.shape[-1], **options)
    if states is None:
        return loss(logits=logits)

    def of_exit(state: Tensor, layer: int) -> Tensor:
        return loss(logits=model.project_exit(state, layer))

    # One exit's logits at a time, recomputed in the backward pass: memory does not grow with the number of exits.
    return sum(recomputed(of_exit, states[layer], layer, use_reentrant=False) for layer in model.listed_layers)
