"""What a user asks of a multi-exit model: its exits, and how they are used."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.contrast import Method, resolve
from autocontrastive_gen.modeling.early_exit import EarlyExit
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit


class VocabularyProjectionMode(Enum):
    """How the state of an intermediate layer becomes logits.

    >>> VocabularyProjectionMode["SHARED_PROJECTION_DIRECT"].value
    2
    """

    LAYER_SPECIFIC_PROJECTION = 0
    """A linear head without bias for each exit."""
    SHARED_PROJECTION_CAST_OUTPUTS = 1
    """A square matrix to the space of the last layer, then the model's own head (Din et al. 2023, arXiv 2303.09435)."""
    SHARED_PROJECTION_DIRECT = 2
    """The model's own head as it is: reads every layer of any checkpoint untrained, noisily."""


@dataclass
class MultiExitConfiguration:
    """Exits of a model and how they are used; every field also takes its string form (``"original;12"``).

    Raises:
        InputError: a field has the wrong form, or fields contradict each other.

    >>> MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices="6;9").lm_head_layer_indices
    (6, 9)
    >>> contrast = MultiExitConfiguration(use_original_head=False, contrast_layer_indices=("original", 6))
    >>> contrast.get_description()
    'original_vs_6'
    >>> MultiExitConfiguration(use_original_head=False, output_layer_index=6).get_description()
    'layer_6'
    """

    if TYPE_CHECKING:  # what is accepted; the fields have the types of what is stored

        def __init__(
            self,
            vocab_projection_mode: "VocabularyProjectionMode | str | None" = None,
            lm_head_layer_indices: Sequence[int] | str | None = None,
            freeze_parameters: bool | str = False,
            use_original_head: bool | str | None = None,
            output_layer_index: int | str | None = None,
            contrast_layer_indices: Sequence[int | str | None] | str | None = None,
            contrast_function: Callable[[Tensor, Tensor], Tensor] | Method | str | Mapping[str, Any] | None = None,
            early_exit: EarlyExit | Mapping[str, Any] | float | str | None = None,
        ) -> None: ...

    vocab_projection_mode: VocabularyProjectionMode = None  # type: ignore[assignment]
    """None: the mode stored in the checkpoint, else LAYER_SPECIFIC_PROJECTION."""
    lm_head_layer_indices: tuple[int, ...] | None = None
    """Layers with an exit; needed once, to create them: the checkpoint stores them."""
    freeze_parameters: bool = False
    """Freeze everything but the exits; only ``requires_grad_`` undoes it."""
    use_original_head: bool = None  # type: ignore[assignment]
    """Ignore the exits: the plain model. None stands for True, and says that exits may be in training: with labels,
    the model then evaluates with the loss that trains them, the sum over its exits."""
    output_layer_index: int | None = None
    """Generate from this exit."""
    contrast_layer_indices: tuple[Exit, int | None] | None = None
    """An upper exit (or ``"original"``) and the lower one; the lower is None where the method names its own layers."""
    contrast_function: Method = None  # type: ignore[assignment]
    """How they are combined (``contrast.resolve``); None: auto-contrastive decoding with the paper's parameters."""
    early_exit: EarlyExit | None = None
    """End each token at the first exit that is confident of it: a threshold, or threshold, criterion and layers."""

    def __post_init__(self) -> None:
        self.mode_is_given = self.vocab_projection_mode is not None
        self.vocab_projection_mode = _mode(self.vocab_projection_mode)
        self.lm_head_layer_indices = _head_layers(self.lm_head_layer_indices)
        self.freeze_parameters = _flag("freeze_parameters", self.freeze_parameters)
        self.head_is_given = self.use_original_head is not None
        self.use_original_head = _flag("use_original_head", self.use_original_head) if self.head_is_given else True
        if self.output_layer_index is not None:
            self.output_layer_index = _layer("output_layer_index", self.output_layer_index)
        given: Any = self.contrast_function
        spelled = given if isinstance(given, str | Mapping) else None
        self.contrast_function = _method(given)
        self.contrast_layer_indices = self._contrast_layers()
        self.early_exit = EarlyExit.parse(self.early_exit)
        self._refuse_contradictions()
        if spelled and self.contrast_layer_indices is None:
            warnings.warn(
                f"contrast_function={spelled!r} is ignored: nothing is contrasted; name the exits, such as "
                "contrast_layer_indices='original;12' with use_original_head=False",
                stacklevel=3,
            )

    def _contrast_layers(self) -> tuple[Exit, int | None] | None:
        given = _split(self.contrast_layer_indices)
        if given is None:
            return None
        if len(given) == 1 and not self.contrast_function.takes_lower:
            given = (*given, None)
        if len(given) != 2:
            raise InputError(
                f"contrast_layer_indices must name an upper and a lower exit, such as 'original;12' or (24, 12), "
                f"got {self.contrast_layer_indices!r}"
            )
        upper = ORIGINAL if given[0] == ORIGINAL else _layer("contrast_layer_indices", given[0])
        if given[1] is None and not self.contrast_function.takes_lower:
            return upper, None
        return upper, _layer("contrast_layer_indices", given[1])

    def _refuse_contradictions(self) -> None:
        ways = ("output_layer_index", "contrast_layer_indices", "early_exit")
        given = [name for name in ways if getattr(self, name) is not None]
        if self.use_original_head:
            for name in given:
                if name != "output_layer_index":
                    raise InputError(
                        f"{name}={getattr(self, name)} contradicts use_original_head=True (the default); "
                        "set use_original_head=False to use it"
                    )
            if given:
                warnings.warn(
                    f"output_layer_index={self.output_layer_index} is ignored: use_original_head is True (the default)",
                    stacklevel=4,
                )
        elif len(given) > 1:
            values = " and ".join(f"{name}={getattr(self, name)}" for name in given)
            raise InputError(f"{values} can't be used together; choose one of them")
        elif not given:
            raise InputError(
                "use_original_head=False needs an exit: set output_layer_index (one exit), contrast_layer_indices "
                "(two of them) or early_exit"
            )

    def replaced(self, **fields: Any) -> "MultiExitConfiguration":
        """The same with some fields changed; what was left to its default stays so."""
        given = {"vocab_projection_mode": self.mode_is_given, "use_original_head": self.head_is_given}
        return replace(self, **{name: None for name in given if not given[name]} | fields)

    def get_description(self) -> str:
        """A short name of what generates: ``original_head``, ``24_vs_12`` or ``layer_12``."""
        if self.use_original_head:
            return "original_head"
        if self.contrast_layer_indices is not None:
            return "_vs_".join(str(layer) for layer in self.contrast_layer_indices if layer is not None)
        if self.early_exit is not None:
            return f"early_exit_{self.early_exit.criterion}_{self.early_exit.threshold:g}"
        return f"layer_{self.output_layer_index}"


def _method(spec: Any) -> Method:
    try:
        return resolve(spec)
    except InputError as error:
        raise InputError(f"contrast_function: {error}") from None


def _mode(value: Any) -> VocabularyProjectionMode:
    if value is None:
        return VocabularyProjectionMode.LAYER_SPECIFIC_PROJECTION
    if isinstance(value, VocabularyProjectionMode):
        return value
    try:
        return VocabularyProjectionMode[str(value).upper().rpartition(".")[2]]
    except KeyError:
        allowed = ", ".join(mode.name for mode in VocabularyProjectionMode)
        raise InputError(f"vocab_projection_mode must be one of {allowed}, got {value!r}") from None


def _split(value: Any) -> tuple | None:
    """A tuple from ``"2;4;6"``, a list, a tuple or a single entry."""
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(part.strip() for part in value.strip("()[] ").replace(",", ";").split(";"))
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _head_layers(value: Any) -> tuple[int, ...] | None:
    given = _split(value)
    if given is None:
        return None
    # The original head is always there; the reference lets it be named.
    layers = tuple(_layer("lm_head_layer_indices", entry) for entry in given if entry != ORIGINAL)
    if not layers or len(set(layers)) != len(layers):
        raise InputError(f"lm_head_layer_indices must name one or more distinct layers, got {value!r}")
    return layers


def _layer(key: str, value: Any) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        layer = int(value)
    except (TypeError, ValueError):
        also = " or 'original'" if key == "contrast_layer_indices" else ""
        raise InputError(f"{key}: a layer is a whole number{also}, got {value!r}") from None
    if layer < 1:
        raise InputError(f"{key}: layers with exits are numbered from 1 (0 is the embeddings), got {value!r}")
    return layer


def _flag(key: str, value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise InputError(f"{key} must be True or False, got {value!r}")
    return value
