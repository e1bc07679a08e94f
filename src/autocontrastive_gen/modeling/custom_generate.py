"""Contrast in ``generate`` of a plain model of transformers, which stays as it is."""

import copy
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList
from transformers.generation.utils import GENERATION_MODES_MAPPING

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.anatomy import Anatomy
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
from autocontrastive_gen.modeling.contrast import Method, resolve
from autocontrastive_gen.modeling.dispatched import reach_forward
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.model_class import multi_exit_class
from autocontrastive_gen.modeling.multi_exit import MultiExitModel

LOOPS = ("_sample", "_beam_search")
"""The decoding loops of transformers that run on a contrast: greedy search and sampling, with and without beams."""


def contrast(
    method: str | Mapping[str, Any] | Callable | None = None,
    *,
    lower: int | None = None,
    upper: Exit = ORIGINAL,
    **parameters: Any,
) -> "ContrastDecoding":
    """A contrast for ``generate(custom_generate=...)`` of any causal language model of transformers.

    Every layer is an exit, untrained: the model's own final norm and head read it (``SHARED_PROJECTION_DIRECT``). The
    tokens are those of a multi-exit model with the same setting, and the arguments of ``generate`` keep their meaning,
    except ``stop_strings`` (give a ``StopStringCriteria``) and assisted decoding. A multi-exit model keeps its
    own exits.

    Args:
        method: what ``contrast_function`` takes: a method's name, ``module:function``, a callable; by default ``acd``.
        lower: the lower exit, unless the method names its layers itself.
        upper: a layer, or "original" for the model's own head.
        **parameters: those of the method.

    Raises:
        InputError: nothing has that name, a parameter is unknown or out of range, or the lower layer is missing. What
            depends on the model (a layer that it lacks, a structure that is not supported) is raised by ``generate``.

    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> from autocontrastive_gen import contrast
    >>> model = AutoModelForCausalLM.from_pretrained("gpt2")
    >>> prompt = AutoTokenizer.from_pretrained("gpt2")("humpty dumpty sat", return_tensors="pt")
    >>> tokens = model.generate(**prompt, custom_generate=contrast("dola", layers="high"), max_new_tokens=5)
    >>> tokens.shape[1] - prompt["input_ids"].shape[1]
    5
    """
    found = _method(method, parameters)
    if lower is None and found.takes_lower:
        raise InputError(f"contrast: {found.name} needs a lower layer: give lower=, such as half the model's depth")
    if lower is not None and not found.takes_lower:
        raise InputError(f"contrast: {found.name} names its layers itself here; leave out lower={lower}")
    setting = MultiExitConfiguration(
        use_original_head=False, contrast_layer_indices=(upper, lower), contrast_function=found
    )
    return ContrastDecoding(setting)


def _method(given: Any, parameters: dict[str, Any]) -> Method:
    if not parameters:
        return resolve(given)
    if isinstance(given, Method | Mapping):
        raise InputError(f"contrast: {given!r} has its parameters already, got {parameters} as well")
    if callable(given):
        return resolve(functools.partial(given, **parameters))
    return resolve({"name": "acd" if given is None else given, **parameters})


class ContrastDecoding:
    """What ``contrast`` returns: a decoding loop of transformers, run on a contrast of the model's layers."""

    def __init__(self, setting: MultiExitConfiguration) -> None:
        self.setting = setting

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> Any:
        """Called by ``generate`` once everything is prepared; returns what ``generate`` returns."""
        streamer, assistant = _not_handed_on("streamer", "assistant_model")
        mode = generation_config.get_generation_mode(assistant)
        loop = GENERATION_MODES_MAPPING[mode]
        if loop not in LOOPS:
            raise InputError(f"contrast: {mode.value} can't be contrasted; use greedy search, sampling or beam search")
        if streamer is not None:
            if loop != "_sample":
                raise InputError("contrast: a streamer needs num_beams=1")
            model_kwargs["streamer"] = streamer
        exits = _with_exits(model)
        exits.set_exits(self.setting)
        for i, processor in enumerate(logits_processor):
            if getattr(processor, "model", None) is model:  # classifier-free guidance runs the model once more
                logits_processor[i] = copy.copy(processor)
                logits_processor[i].model = exits
        return getattr(exits, loop)(input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs)


def _not_handed_on(*names: str) -> list[Any]:
    """Arguments of the calling ``generate`` that transformers 5 keeps from callables; None where there are none."""
    caller = sys._getframe(2)
    given = caller.f_locals if caller.f_code.co_name == "generate" else {}
    return [given.get(name) for name in names]


_structures: WeakKeyDictionary[PreTrainedModel, tuple[list[str], Anatomy]] = WeakKeyDictionary()
"""Names of a model's modules, and the anatomy that was found and verified when it had these modules."""


def _with_exits(model: PreTrainedModel) -> MultiExitModel:
    """A multi-exit model that shares the weights of ``model``, with its own exits or else untrained ones everywhere."""
    if isinstance(model, MultiExitModel):
        return copy.copy(model)
    names = [name for name, _ in model.named_modules()]
    known, anatomy = _structures.get(model, (None, None))
    exits: Any = _sharing_copy(model)
    exits.config.vocab_projection_mode = VocabularyProjectionMode.SHARED_PROJECTION_DIRECT.name
    exits.config.lm_head_layer_indices = None
    exits.__class__ = multi_exit_class(type(model))
    reach_forward(exits)
    exits.attach(anatomy=anatomy if known == names else None)
    _structures[model] = names, exits.anatomy
    return exits


def _sharing_copy(model: nn.Module) -> Any:
    """A copy of the modules and the configuration; parameters and buffers are those of the model."""
    shared: list[Any] = [*model.parameters(), *model.buffers()]
    # What accelerate moves weights with holds those that are not on a device.
    shared += [module._hf_hook for module in model.modules() if hasattr(module, "_hf_hook")]
    return copy.deepcopy(model, {id(thing): thing for thing in shared})
