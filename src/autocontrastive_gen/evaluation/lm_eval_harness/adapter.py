"""Multi-exit models for lm-eval: its Hugging Face model, loaded by ``AutoMultiExitModel``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

_FIELDS = tuple(field.name for field in fields(MultiExitConfiguration))
_CONTRAST = "contrast_"
_NO_FIELDS = ("contrast_alpha", "contrast_minimum_candidates", "contrast_temperature")


class _FromArguments:
    """What lm-eval calls in place of ``AutoModelForCausalLM``: splits its flat arguments."""

    @staticmethod
    def from_pretrained(pretrained: str, **kwargs: Any):
        given = {key: value for key, value in kwargs.items() if value is not None}
        setting = {key: _unquoted(given.pop(key)) for key in _FIELDS if key in given}
        parameters = {key.removeprefix(_CONTRAST): given.pop(key) for key in _NO_FIELDS if key in given}
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
    for exits stored alone; ``contrast_function=`` a name or ``module:function``; and ``contrast_alpha=``,
    ``contrast_minimum_candidates=``, ``contrast_temperature=`` for its parameters.
    """

    AUTO_MODEL_CLASS = _FromArguments

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if hasattr(self, "accelerator"):  # HFLM shares items among processes on GPUs of one machine only
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
