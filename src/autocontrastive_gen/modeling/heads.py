"""The exits of a model: their parameters under the reference's names, and their output matrices."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autocontrastive_gen.modeling.configuration import VocabularyProjectionMode
from autocontrastive_gen.modeling.deciding import gathered_product
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.packed import rounded_product, rounds
from autocontrastive_gen.modeling.plausible import FIRST_LOOK

HEADS = "name_to_lm_exit_head"
CASTS = "name_to_conv_matrix"
TRANSLATORS = "name_to_translator"
GROUPS = (HEADS, CASTS, TRANSLATORS)
"""Names of the modules that hold the parameters of exits."""
TRANSLATORS_KEY = "exit_translators"
"""In the model's configuration: whether the exits of the cast mode are translators, as those of a tuned lens."""
Mode = VocabularyProjectionMode


@dataclass(frozen=True)
class ExitHead:
    """One exit: logits before soft-capping and scaling are ``cast(x) @ weight.T + bias`` for normed states x."""

    cast: nn.Linear | None
    """d -> d without bias; None: the states are used as they are."""
    output: nn.Module
    """The output matrix as a module, d -> V."""

    @property
    def weight(self) -> Tensor:
        """The output matrix (V, d)."""
        return _weight(self.output)

    @property
    def bias(self) -> Tensor | None:
        """(V,) or None."""
        return getattr(self.output, "bias", None)

    @property
    def rows_say_all(self) -> bool:
        """Whether the product can be had from rows of ``weight``: adapters and offloading add to what they say."""
        return type(self.output).forward is nn.Linear.forward and not self.weight.is_meta

    def product(self, states: Tensor) -> Tensor:
        """The product (..., V) for normed states (..., d)."""
        return _fed(self.output, self.cast_states(states))

    def gather_limit(self, rows: int) -> int:
        """The largest number of tokens per row for which ``product_at`` costs less than ``product``; 0 for none.

        A fit to times on one CPU core (heads of 49,152 x 576 and 50,257 x 1,024; 1, 8, 64 and 512 rows). The product
        reads the head once however many rows there are and computes for each; gathering does both for each candidate.
        """
        if not self.rows_say_all:
            return 0
        vocabulary = len(self.weight)
        return max(FIRST_LOOK, vocabulary // 200 + vocabulary // (10 * max(rows, 1)))

    def product_at(self, states: Tensor, token_ids: Tensor) -> Tensor:
        """Entries of the product at ``token_ids`` (rows, K) alone, for states (rows, d); float32 in 16-bit models."""
        return self.product_of_cast_at(self.cast_states(states), token_ids)

    def cast_states(self, states: Tensor) -> Tensor:
        """What the output matrix is multiplied with, for normed states (..., d)."""
        return states if self.cast is None else _fed(self.cast, states)

    def product_of_cast(self, cast_states: Tensor) -> Tensor:
        """The product (..., V) from what ``cast_states`` returned; ``unrounded`` says what of it may be rounded."""
        rounded = rounded_product(self.output, cast_states)
        return _fed(self.output, cast_states) if rounded is None else rounded

    def rounds(self, cast_states: Tensor) -> bool:
        """Whether ``product_of_cast`` is rounded for what ``cast_states`` returned, whatever its type."""
        return rounds(self.output, cast_states)

    def product_of_cast_at(self, cast_states: Tensor, token_ids: Tensor) -> Tensor:
        """Entries of the product at ``token_ids`` (rows, K) alone, from what ``cast_states`` returned for (rows, d)."""
        return gathered_product(self.weight, self.bias, cast_states, token_ids)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _fed(module: nn.Module, states: Tensor) -> Tensor:
    """The module's output for states of any float type: exits in training may have another type than the trunk."""
    dtype = _weight(module).dtype
    return module(states.to(dtype) if dtype.is_floating_point else states)


def add_exits(model: PreTrainedModel, mode: Mode, layers: tuple[int, ...], num_layers: int) -> None:
    """Create exits at ``layers``, with random heads, identity casts or translators, in place of those the model has."""
    for name in GROUPS:
        if hasattr(model, name):
            delattr(model, name)
    weight = model.get_output_embeddings().weight
    like = {"device": weight.device, "dtype": weight.dtype if weight.is_floating_point() else model.dtype}
    vocabulary, size = weight.shape
    if mode is Mode.LAYER_SPECIFIC_PROJECTION:
        heads = {head_name(layer): nn.Linear(size, vocabulary, bias=False, **like) for layer in layers}
        setattr(model, HEADS, nn.ModuleDict(heads))
    elif mode is Mode.SHARED_PROJECTION_CAST_OUTPUTS:
        below = [layer for layer in layers if layer != num_layers]
        translates = bool(getattr(model.config, TRANSLATORS_KEY, False))
        squares = {cast_name(layer, num_layers): nn.Linear(size, size, bias=translates, **like) for layer in below}
        setattr(model, TRANSLATORS if translates else CASTS, nn.ModuleDict(squares))


def reset_exits(model: PreTrainedModel, missing: set[str]) -> None:
    """Initialise the exits that no file held: casts and translators so that they change nothing, heads as a new output
    matrix of this family."""
    for name, parameter in exit_state(model).items():
        if name in missing:
            with torch.no_grad():
                if name.startswith(CASTS):
                    nn.init.eye_(parameter)
                elif name.startswith(TRANSLATORS):
                    nn.init.zeros_(parameter)
                else:
                    nn.init.normal_(parameter, std=getattr(model.config, "initializer_range", None) or 0.02)


def head_name(layer: int) -> str:
    """The reference's name of a head."""
    return f"lm_head_{layer}"


def cast_name(layer: int, num_layers: int) -> str:
    """The reference's name of a cast."""
    return f"{layer}_to_{num_layers}"


def exit_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters of the exits by their names in a checkpoint."""
    return {
        f"{group}.{name}": parameter
        for group in GROUPS
        if hasattr(model, group)
        for name, parameter in getattr(model, group).named_parameters()
    }


def exit_modules(model: nn.Module) -> dict[int, nn.Module]:
    """Layer -> the module that is its exit's alone."""
    heads = {int(name.rpartition("_")[2]): module for name, module in getattr(model, HEADS, {}).items()}
    squares = [*getattr(model, CASTS, {}).items(), *getattr(model, TRANSLATORS, {}).items()]
    return heads | {int(name.partition("_")[0]): module for name, module in squares}


def exit_head(model: PreTrainedModel, mode: Mode, exit_: Exit, num_layers: int) -> ExitHead:
    """The head of an exit, which must exist."""
    if exit_ != ORIGINAL:
        if mode is Mode.LAYER_SPECIFIC_PROJECTION:
            return ExitHead(None, getattr(model, HEADS)[head_name(int(exit_))])
        if mode is Mode.SHARED_PROJECTION_CAST_OUTPUTS and exit_ != num_layers and hasattr(model, CASTS):
            return ExitHead(getattr(model, CASTS)[cast_name(int(exit_), num_layers)], model.get_output_embeddings())
    return ExitHead(None, model.get_output_embeddings())


def translator(model: nn.Module, layer: int) -> Any:
    """The linear map whose output is added to a layer's state before the final norm, as by a tuned lens; None: none."""
    return next((x for name, x in getattr(model, TRANSLATORS, {}).items() if name.startswith(f"{layer}_to_")), None)


def translated(model: nn.Module, layer: int, state: Tensor) -> Tensor:
    """The state (..., d) of a layer as the final norm of its exit sees it."""
    module = translator(model, layer)
    return state if module is None else state + _fed(module, state).to(state.dtype)
