"""The exits in use: what one forward computes, and how a setting is changed and restored."""

from dataclasses import dataclass, replace
from typing import Any

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
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
        """The upper exit and the lower ones."""
        return (self.upper, *self.lower)


PLAIN = ActiveExits(ORIGINAL)


@dataclass(frozen=True)
class ModelExits:
    """The exits that a model has."""

    layers: tuple[int, ...]
    depth: int
    mode: VocabularyProjectionMode

    def layer_of(self, exit_: Exit) -> int:
        """The layer whose state an exit projects."""
        return self.depth if isinstance(exit_, str) else exit_

    def require(self, key: str, exit_: Exit) -> None:
        """Raise InputError, naming ``key``, if there is no such exit."""
        if exit_ != ORIGINAL and exit_ not in self.layers:
            exits = ", ".join(map(str, self.layers)) or "none yet (train some, or give lm_head_layer_indices)"
            raise InputError(
                f"{key}: the model has no exit {exit_!r}; exits of its {self.depth} layers: {exits}; "
                "its own head: 'original'"
            )

    def require_different(self, lower: Exit, upper: Exit) -> None:
        """Raise InputError if both are one head of one layer: there is nothing to contrast."""
        two_heads = lower != upper and self.mode is VocabularyProjectionMode.LAYER_SPECIFIC_PROJECTION
        if self.layer_of(lower) == self.layer_of(upper) and not two_heads:
            others = [layer for layer in self.layers if layer != self.layer_of(upper)]
            raise InputError(
                f"contrast_layer_indices: the lower exit {lower} is the upper exit {upper}; other exits: "
                f"{', '.join(map(str, others)) or 'none'}"
            )

    def require_below(self, lower: Exit, upper: Exit) -> None:
        """Raise InputError unless ``lower`` lies below ``upper``, or both are different heads of one layer."""
        self.require_different(lower, upper)
        above = self.layer_of(upper)
        if self.layer_of(lower) > above:
            candidates = [layer for layer in self.layers if layer < above]
            raise InputError(
                f"contrast_function: layers: an exit must lie below the upper exit {upper}, got {lower}; "
                f"exits below it: {', '.join(map(str, candidates)) or 'none'}"
            )


def activated(config: MultiExitConfiguration, exits: ModelExits) -> ActiveExits:
    """What a setting computes on a model.

    Raises:
        InputError: the model lacks an exit, the lower exit is the upper one, or a layer that the method names is not
            below the upper exit.
    """
    if config.use_original_head:
        return PLAIN
    if config.output_layer_index is not None:
        exits.require("output_layer_index", config.output_layer_index)
        return ActiveExits(config.output_layer_index)
    if config.early_exit is not None:
        return ActiveExits(ORIGINAL, early=_early_exit(config.early_exit, exits))
    assert config.contrast_layer_indices is not None  # the configuration names one way to use the exits
    upper, lower = config.contrast_layer_indices
    exits.require("contrast_layer_indices", upper)
    lowers = config.contrast_function.lower_exits(lower, upper, exits.layers, exits.depth)
    for exit_ in dict.fromkeys((*lowers, *((lower,) if lower is not None else ()))):
        if exit_ == lower:  # it may lie above the upper exit, as in the reference
            exits.require("contrast_layer_indices", exit_)
            exits.require_different(exit_, upper)
        else:
            exits.require("contrast_function: layers", exit_)
            exits.require_below(exit_, upper)
    return ActiveExits(upper, lowers, config.contrast_function)


def _early_exit(rule: EarlyExit, exits: ModelExits) -> EarlyExit:
    for layer in rule.layers:
        exits.require("early_exit: layers", layer)
    layers = tuple(layer for layer in rule.layers or exits.layers if layer < exits.depth)
    if not layers:
        raise InputError(f"early_exit: the model has no exit below its last layer {exits.depth}")
    return replace(rule, layers=layers)


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
    """A setting with some fields changed; a field that selects exits resets the others that do.

    Args:
        given: whether the caller passed a whole setting, whose own selection then stays.

    Raises:
        InputError: there is no such field, or the fields contradict each other.
    """
    names = config.__dataclass_fields__
    if unknown := sorted(set(fields) - set(names)):
        raise InputError(f"set_exits: no such field: {', '.join(unknown)}; there are {', '.join(names)}")
    if not given and (not fields or any(fields.get(name) is not None for name in SELECTING)):
        named = any(fields.get(name) is not None for name in SELECTING[1:])
        fields = {**dict(zip(SELECTING, (not named, None, None, None), strict=True)), **fields}
    return config.replaced(**fields) if fields else config
