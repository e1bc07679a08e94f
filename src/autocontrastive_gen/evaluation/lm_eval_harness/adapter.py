"""Multi-exit models for lm-eval: its Hugging Face model, loaded by ``AutoMultiExitModel``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from tqdm import tqdm

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

_FIELDS = tuple(field.name for field in fields(MultiExitConfiguration))
_CONTRAST = "contrast_"
_PARAMETERS = ("alpha", "minimum_candidates", "temperature", "layers", "weights")
_NO_FIELDS = tuple(_CONTRAST + name for name in _PARAMETERS)


class _FromArguments:
    """What lm-eval calls in place of ``AutoModelForCausalLM``: splits its flat arguments."""

    @staticmethod
    def from_pretrained(pretrained: str, **kwargs: Any):
        given = {key: value for key, value in kwargs.items() if value is not None}
        setting = {key: _unquoted(given.pop(key)) for key in _FIELDS if key in given}
        parameters = {key.removeprefix(_CONTRAST): _unquoted(given.pop(key)) for key in _NO_FIELDS if key in given}
        if parameters:
            setting["contrast_function"] = {"name": setting.get("contrast_function", "acd"), **parameters}
        exits = _unquoted(given.pop("exits", None))
        return AutoMultiExitModel.from_pretrained(pretrained, MultiExitConfiguration(**setting), exits=exits, **given)


def _unquoted(value: Any) -> Any:
    """A value without the quotes that a shell may have left, as in ``contrast_layer_indices='original;12'``."""
    return value.strip("'\"") if isinstance(value, str) else value


@register_model("multi_exit_gpt", "multi_exit_hf")
class MultiExitLM(HFLM):
    """``--model multi_exit_gpt`` and ``multi_exit_hf``.

    ``--model_args`` takes what lm-eval's ``hf`` takes and the fields of ``MultiExitConfiguration``; ``exits=<folder>``
    for exits stored alone; ``contrast_function=`` a name or ``module:function``; and its parameters as
    ``contrast_alpha=``, ``contrast_minimum_candidates=``, ``contrast_temperature=``, ``contrast_layers='2;4'``,
    ``contrast_weights=``.
    """

    AUTO_MODEL_CLASS = _FromArguments

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if hasattr(self, "accelerator"):  # HFLM shares items among processes on GPUs of one machine only
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes

    _keep = 0
    """Positions at the end of a batch whose logits are computed; 0 is all."""

    def _loglikelihood_tokens(self, requests: list, disable_tqdm: bool = False, override_bs: int | None = None) -> list:
        """As HFLM's, but in each batch only the positions that some continuation reaches are projected."""
        if self.batch_size == "auto":
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        # HFLM's own order, so that choices of one token after the same context still share a pass
        order = sorted(range(len(requests)), key=lambda i: (-_length(requests[i]), requests[i][1] + requests[i][2]))
        found: dict[int, tuple[float, bool]] = {}
        bar = tqdm(total=len(requests), desc="loglikelihoods", disable=True if disable_tqdm or self.rank else None)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            batch = [requests[i] for i in chosen]
            inputs = [min(_length(request) - 1, self.max_length) for request in batch]
            starts = [n - len(request[2]) for n, request in zip(inputs, batch, strict=True)]
            self._keep = max(inputs) - min(starts)
            try:
                answers = super()._loglikelihood_tokens(batch, True, override_bs)
            finally:
                self._keep = 0
            found.update(zip(chosen, answers, strict=True))
            bar.update(len(batch))
        bar.close()
        return [found[i] for i in range(len(requests))]

    def _model_call(self, inps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not self._keep or args or kwargs or self.mixed_precision_dtype is not None:
            return super()._model_call(inps, *args, **kwargs)
        with torch.inference_mode():
            return self.model(inps, logits_to_keep=self._keep).logits


def _length(request: tuple) -> int:
    """Tokens of a request's context and continuation."""
    return len(request[1]) + len(request[2])
