"""The exits in use: what one forward computes, and how a setting is changed and restored."""

from dataclasses import dataclass, replace
from typing import Any

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.early_exit import EarlyExit
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.method import Method


@dataclass(frozen=True)
class ActiveExits:
    """What one forward computes; replaced as a whole, so that a running forward never sees half a change."""

    upper: Exit
    lower: tuple[Exit, ...] = ()
    """The exits that ``method`` reads besides the upper one, in its order."""
    method: Method | None = None
    """None: the upper exit's logits as they are."""
    early: EarlyExit | None = None

    @property
    def exits(self) -> tuple[Exit, ...]:
        return (self.upper, *self.lower)


PLAIN = ActiveExits(ORIGINAL)


class PreviousSetting:
    """A setting that was replaced; as a context manager, it is restored at the end."""

    def __init__(self, model: Any, config: MultiExitConfiguration) -> None:
        self.model = model
        self.config = config

    def __enter__(self) -> Any:
        return self.model

    def __exit__(self, *error: object) -> None:
        self.model.set_exits(self.config)


SELECTING = ("use_original_head", "output_layer_index", "contrast_layer_indices", "early_exit")


def changed(config: MultiExitConfiguration, fields: dict[str, Any], given: bool) -> MultiExitConfiguration:
    """A setting with some fields changed; naming one way to use the exits drops the others."""
    names = config.__dataclass_fields__
    if unknown := sorted(set(fields) - set(names)):
        raise InputError(f"set_exits: no such field: {', '.join(unknown)}; there are {', '.join(names)}")
    if not given and (not fields or any(fields.get(name) is not None for name in SELECTING)):
        named = any(fields.get(name) is not None for name in SELECTING[1:])
        fields = {**dict(zip(SELECTING, (not named, None, None, None), strict=True)), **fields}
    if fields and not config.mode_is_given:
        fields = {"vocab_projection_mode": None, **fields}
    return replace(config, **fields) if fields else config
