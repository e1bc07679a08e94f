"""Load a language model together with its exits, or add exits to a loaded one."""

import logging
import os
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)

from autocontrastive_gen.foundation.errors import InputError, mendable
from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.checkpoint import check_stored_base, settle_exits
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.dispatched import reach_forward
from autocontrastive_gen.modeling.model_class import multi_exit_class
from autocontrastive_gen.modeling.multi_exit import MultiExitModel
from autocontrastive_gen.modeling.weights import check_tensors, readable

logger = logging.getLogger(__name__)

HUB_OPTIONS = ("cache_dir", "code_revision", "force_download", "local_files_only", "proxies", "revision", "subfolder",
               "token", "gguf_file")  # fmt: skip
NOT_OVERRIDES = ("dtype", "torch_dtype", "quantization_config")
"""Arguments that bear the name of an entry of config.json, and which the loading of the weights reads."""
CODE_IS_NOT_RUN = (
    "code that comes with a checkpoint is not run; use a family of transformers, or load the model yourself and pass "
    "it to AutoMultiExitModel.from_model"
)


class AutoMultiExitModel:
    """Multi-exit form of ``AutoModelForCausalLM`` (and of encoder-decoder models such as T5).

    >>> from autocontrastive_gen import MultiExitConfiguration
    >>> exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
    >>> model = AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=exits)
    >>> model.exit_layers
    (2, 4)
    """

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        multi_exit_config: MultiExitConfiguration | None = None,
        *,
        exits: str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> MultiExitModel:
        """Load a multi-exit checkpoint, or a plain one and create its exits.

        Args:
            pretrained_model_name_or_path: a folder or a name on the hub, as for ``AutoModelForCausalLM``.
            multi_exit_config: exits and setting; by default the exits of the checkpoint and the original head.
            exits: a folder (or a name on the hub) with exits stored alone, trained for this base.
            **kwargs: arguments of ``from_pretrained`` of transformers (``dtype``, ``device_map``, ...).

        Raises:
            InputError: the configuration contradicts itself or the checkpoint, or the model can't be given exits.
            TypeError: ``multi_exit_config`` is not a ``MultiExitConfiguration``, or the source no path or name.
            FileError: a file is missing or unreadable, or the tensors of the trunk are not those that the model needs.
            WrongBaseError: the exits were trained for another base model.

        >>> setting = MultiExitConfiguration(
        ...     "SHARED_PROJECTION_DIRECT", use_original_head=False, contrast_layer_indices=("original", 3)
        ... )
        >>> AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=setting).multi_exit_config.get_description()
        'original_vs_3'
        """
        if kwargs.pop("trust_remote_code", None):
            raise InputError(f"trust_remote_code=True: {CODE_IS_NOT_RUN}")
        setting = _setting(multi_exit_config)
        if not isinstance(pretrained_model_name_or_path, str | os.PathLike):
            kind = type(pretrained_model_name_or_path).__name__
            raise TypeError(f"from_pretrained takes a folder or a name on the hub, got {kind}; from_model takes models")
        config = kwargs.pop("config", None) or pretrained_model_name_or_path
        wants_states = kwargs.get("output_hidden_states", False)
        if isinstance(config, str | os.PathLike):
            config, kwargs = _config_of(config, kwargs)
        settle_exits(config, setting, exits is not None)
        model_class = multi_exit_class(plain_class(config))
        mismatched = {"ignore_mismatched_sizes": True}  # reported by name below, unless the caller accepts them
        with readable(pretrained_model_name_or_path):
            model, info = model_class.from_pretrained(
                pretrained_model_name_or_path, config=config, **kwargs | mismatched | {"output_loading_info": True}
            )
        fresh = check_tensors(pretrained_model_name_or_path, info, kwargs.get("ignore_mismatched_sizes", False))
        if model.config.output_hidden_states and not wants_states:
            # The reference stores it in its checkpoints, where it makes generate return an object.
            model.config.output_hidden_states = False
            model.generation_config.update(output_hidden_states=False, return_dict_in_generate=False)
        return _with_exits(model, setting, exits, fresh)

    @classmethod
    def from_model(
        cls,
        model: PreTrainedModel,
        multi_exit_config: MultiExitConfiguration | None = None,
        exits: str | os.PathLike | None = None,
    ) -> MultiExitModel:
        """Add exits to a loaded model, which is changed in place and returned.

        Raises:
            InputError, TypeError, FileError, WrongBaseError: as ``from_pretrained``.

        >>> from transformers import AutoModelForCausalLM
        >>> plain = AutoModelForCausalLM.from_pretrained("gpt2")
        >>> exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(3,))
        >>> model = AutoMultiExitModel.from_model(plain, multi_exit_config=exits)
        >>> model is plain, model.exit_layers
        (True, (3,))
        """
        setting = _setting(multi_exit_config)
        if not isinstance(model, PreTrainedModel):
            raise TypeError(f"from_model takes a loaded model of transformers, got {type(model).__name__}")
        if model.get_output_embeddings() is None:
            raise InputError(f"{type(model).__name__} has no output matrix; load it with AutoModelForCausalLM")
        plain = type(model)
        before = _exits_of(model.config)
        settle_exits(model.config, setting, exits is not None)
        model.__class__ = multi_exit_class(plain)
        try:
            reach_forward(model)
            if model.listed_layers and (_exits_of(model.config) != before or not heads.exit_modules(model)):
                model.create_exits()
                return _with_exits(model, setting, exits, set(heads.exit_state(model)))
            return _with_exits(model, setting, exits, set())
        except (ValueError, OSError):
            model.__class__ = plain
            for key, value in zip(_EXIT_KEYS, before, strict=True):
                setattr(model.config, key, value)
            if "_old_forward" in model.__dict__:
                reach_forward(model)
            raise


def _setting(given: Any) -> MultiExitConfiguration:
    if not isinstance(given, MultiExitConfiguration | None):
        raise TypeError(f"multi_exit_config: give a MultiExitConfiguration, got {given!r}")
    return given or MultiExitConfiguration()


def _config_of(source: str | os.PathLike, arguments: dict[str, Any]) -> tuple[PreTrainedConfig, dict[str, Any]]:
    """The model's configuration, with those of the arguments that override it; and the arguments that do not."""
    options = {key: arguments[key] for key in HUB_OPTIONS if key in arguments}
    overrides = {key: value for key, value in arguments.items() if key not in (*HUB_OPTIONS, *NOT_OVERRIDES)}
    try:
        kinds = (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError, StrictDataclassError)
        with mendable(f"{source}: its config.json cannot be read", kinds):
            config, left = AutoConfig.from_pretrained(
                source, trust_remote_code=False, return_unused_kwargs=True, **options, **overrides
            )
            return config, {key: value for key, value in arguments.items() if key not in overrides or key in left}
    except InputError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise InputError(f"{source}: its model is defined by its own code; {CODE_IS_NOT_RUN}") from None


_EXIT_KEYS = ("vocab_projection_mode", "lm_head_layer_indices", heads.TRANSLATORS_KEY)


def _exits_of(config: PreTrainedConfig) -> tuple:
    return tuple(getattr(config, key, None) for key in _EXIT_KEYS)


def plain_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of transformers that generates text with this configuration.

    Raises:
        InputError: no class of transformers does.
    """
    plain = [MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING]
    mappings = reversed(plain) if config.is_encoder_decoder else plain
    for mapping in (*mappings, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING):  # the last: text decoders that also read images
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, list | tuple) else found
    raise InputError(f"a model of type {config.model_type!r} does not generate text; use a causal language model or T5")


def _with_exits(
    model: PreTrainedModel, setting: MultiExitConfiguration, exits: str | os.PathLike | None, missing: set[str]
) -> PreTrainedModel:
    fresh = missing & set(heads.exit_state(model))
    heads.reset_exits(model, fresh)
    model.attach()
    check_stored_base(model)
    if exits is not None:
        model.load_exits(exits)
    elif fresh and not setting.use_original_head:  # exits that nothing reads may be about to be trained
        logger.warning(
            "%d exits of %s are new and untrained (random heads, identity casts): train them, or load trained ones "
            "with exits=<folder>",
            len(fresh),
            type(model).__name__,
        )
    model.set_exits(setting)
    model.eval()
    return model
