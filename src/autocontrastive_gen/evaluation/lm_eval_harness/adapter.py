"""Multi-exit models for lm-eval: its Hugging Face model, loaded by ``AutoMultiExitModel``."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

import torch
from lm_eval.api.registry import model_registry
from lm_eval.models.huggingface import HFLM
from torch import Tensor

from autocontrastive_gen.evaluation.lm_eval_harness.order import DocumentOrder
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.generation.batches import pad, pad_token
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.method import METHODS

_FIELDS = tuple(field.name for field in fields(MultiExitConfiguration))
_CONTRAST = "contrast_"
_PARAMETERS = dict.fromkeys(_CONTRAST + each.name for name in METHODS for each in fields(METHODS[name]))
ARGUMENTS = (*_FIELDS, *_PARAMETERS, "exits")


class _FromArguments:
    """Stands in for ``AutoModelForCausalLM`` in lm-eval: sorts its flat arguments."""

    @staticmethod
    def from_pretrained(pretrained: str, **kwargs: Any):
        given = {key: value for key, value in kwargs.items() if value is not None}
        setting = {key: _unquoted(given.pop(key)) for key in _FIELDS if key in given}
        parameters = {
            key.removeprefix(_CONTRAST): _unquoted(given.pop(key)) for key in list(given) if key.startswith(_CONTRAST)
        }
        if parameters:
            setting["contrast_function"] = {"name": setting.get("contrast_function", "acd"), **parameters}
        exits = _unquoted(given.pop("exits", None))
        return AutoMultiExitModel.from_pretrained(pretrained, MultiExitConfiguration(**setting), exits=exits, **given)


def _unquoted(value: Any) -> Any:
    """A value without the quotes that a shell may have left, as in ``contrast_layer_indices='original;12'``."""
    return value.strip("'\"") if isinstance(value, str) else value


class MultiExitLM(DocumentOrder, HFLM):
    """``--model multi_exit``, or ``multi_exit_gpt`` and ``multi_exit_hf``.

    ``--model_args`` takes what lm-eval's ``hf`` takes and the fields of ``MultiExitConfiguration``; ``exits=<folder>``
    for exits stored alone; ``contrast_function=`` a name or ``module:function``; and each parameter of that method with
    ``contrast_`` before its name, as ``contrast_alpha=0.2`` and ``contrast_layers='2;4'``.
    """

    AUTO_MODEL_CLASS = _FromArguments

    def __init__(self, *args: Any, **kwargs: Any):
        if not torch.accelerator.is_available():
            os.environ["ACCELERATE_USE_CPU"] = "true"  # or HFLM's Accelerator sees one process without a GPU
        super().__init__(*args, **kwargs)
        if hasattr(self, "accelerator"):  # HFLM shares items among processes on GPUs of one machine only
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes

    def _loglikelihood_tokens(self, requests: list, disable_tqdm: bool = False, override_bs: int | None = None) -> list:
        """As HFLM's, but logits are computed only at the positions that predict a continuation."""
        if self.backend != "causal" or self.batch_size == "auto" or self.peft:  # a peft prompt moves the positions
            if not self._gives_distributions:
                raise InputError(
                    f"{self.model.active_exits.method.name}: scores that are no distribution are summed "
                    "for causal models without peft, at a fixed batch_size; give it a number"
                )
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        alike: dict[tuple[int, ...], list[int]] = {}  # choices of one token after the same context share a pass
        for i, (_, context, continuation) in enumerate(requests):
            alike.setdefault((*context, *continuation[:-1]), []).append(i)
        texts, size = sorted(alike, key=lambda text: (-len(text), text)), override_bs or self.batch_size
        found: dict[int, tuple[float, bool]] = {}
        bar = ProgressBar(total=len(requests), desc="loglikelihoods", disable=disable_tqdm or self.rank > 0)
        for batch in (texts[start : start + size] for start in range(0, len(texts), size)):
            longest = max(len(requests[i][2]) for text in batch for i in alike[text])
            for text, log_probs in zip(batch, self._last_log_probs(batch, longest), strict=True):
                for i in alike[text]:
                    key, _, continuation = requests[i]
                    tokens, at = torch.tensor(continuation, device=log_probs.device), log_probs[-len(continuation) :]
                    total = at.gather(-1, tokens[:, None]).sum()
                    found[i] = float(total), bool((at.argmax(-1) == tokens).all())
                    if key is not None:
                        self.cache_hook.add_partial("loglikelihood", key, found[i])
                    bar.update()
        bar.close()
        return [found[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _last_log_probs(self, texts: list[tuple[int, ...]], count: int) -> Tensor:
        """Log-probabilities (B, count, V) after each of the last ``count`` tokens of each text, padded on the right.

        As in lm-eval's ``hf``, a 16-bit model's own are of 16 bits unless ``softmax_dtype`` says otherwise; those of a
        contrast are of 32. A method whose result is no distribution gives its scores instead.
        """
        kept = [list(text[-self.max_length :]) for text in texts]
        ids, mask = pad(kept, pad_token(self.tokenizer), "right", self.device)
        ends = mask.sum(1, keepdim=True)  # (B, 1)
        positions = (ends - torch.arange(count, 0, -1, device=ids.device)).clamp(min=0)
        precision = self.mixed_precision_dtype
        with torch.autocast(self.device.type, dtype=precision, enabled=precision is not None):
            logits = self._logits(ids, mask, positions)
        if not self._gives_distributions:
            return logits
        return logits.log_softmax(-1, dtype=self.softmax_dtype)

    def _logits(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Logits (B, count, V) at the positions (B, count) of the texts (B, T)."""
        return self.model(ids, attention_mask=mask, logits_to_keep=positions).logits

    @property
    def _gives_distributions(self) -> bool:
        method = self.model.active_exits.method
        return method is None or method.is_distribution


for _name in ("multi_exit", "multi_exit_gpt", "multi_exit_hf"):
    if _name not in model_registry:  # where lm-eval reads entry points, it knows the name and is loading this module
        model_registry.register(_name, target=MultiExitLM)
