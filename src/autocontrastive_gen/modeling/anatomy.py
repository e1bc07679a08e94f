"""Where the parts of a language model are: found by watching it run, verified by comparing logits.

No family is known by name. A probe of four tokens shows which list of blocks the text runs through, which modules lead
from the last block to the output matrix, and what happens to the logits after it. The parts, put together again, must
reproduce the model's logits, from its last layer and from a trunk that ends early, and a token may change nothing that
stands before it; otherwise the model is refused.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.trunk import LayerTap, Trunk, state_in, tap_head, trunk_run

PROBE_LENGTH = 4
PROBE_LOGIT = 20.0
"""Size of the logits at which the probe looks for soft-capping, which leaves small logits nearly unchanged."""


@dataclass(frozen=True)
class LogitStep:
    """An elementwise step on states or logits, with a constant from the model's configuration."""

    kind: str
    constant: float

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "times":
            return x * self.constant
        if self.kind == "over":
            return x / self.constant
        return torch.tanh(x / self.constant) * self.constant


@dataclass(frozen=True)
class Anatomy:
    """Names of a model's parts, as ``get_submodule`` takes them."""

    blocks: str
    num_layers: int
    finish: tuple[str, ...]
    """Modules between the last block and the output matrix, in order: the final norm, a projection."""
    before_head: tuple[LogitStep, ...]
    """Steps on the normed state before the output matrix (T5's scaling)."""
    after_head: tuple[LogitStep, ...]
    """Steps on the logits: soft-capping, scaling."""

    def trunk(self, model: nn.Module) -> nn.ModuleList:
        """The list of blocks."""
        blocks = model.get_submodule(self.blocks)
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def prepare(self, model: nn.Module) -> None:
        """Make the model's list of blocks one that ``trunk_run`` can end early."""
        self.trunk(model).__class__ = Trunk

    def normed(self, model: nn.Module, state: Tensor, final_norm: bool = True) -> Tensor:
        """What the output matrix would see if the block that gave ``state`` (..., d) were the last.

        Without ``final_norm``, modules that hold no matrix are left out: that is the norm, not a projection.
        """
        for name in self.finish:
            module = model.get_submodule(name)
            if final_norm or any(parameter.dim() > 1 for parameter in module.parameters()):
                state = state_in(module(state))
        return _apply(self.before_head, state)

    def logits(self, product: Tensor) -> Tensor:
        """Logits from the product with an output matrix."""
        return _apply(self.after_head, product)

    def tap(self, model: nn.Module, layers: tuple[int, ...]) -> None:
        """Make the states of these layers available to ``trunk_run``, permanently and once per layer."""
        blocks = self.trunk(model)
        for layer in layers:
            block = blocks[layer - 1]
            if not any(isinstance(hook, LayerTap) for hook in block._forward_hooks.values()):
                block.register_forward_hook(LayerTap(layer))


def _apply(steps: tuple[LogitStep, ...], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


class UnsupportedModelError(InputError):
    """The parts of the model were not found, or do not reproduce its logits."""

    def __init__(self, model: nn.Module, reason: str) -> None:
        super().__init__(
            f"{type(model).__name__} can't be given exits: {reason}. Exits need a model whose text runs through one "
            "list of blocks, a final norm and a linear output layer"
        )


def find_anatomy(model: PreTrainedModel) -> Anatomy:
    """Find and verify the parts of a model, and make its list of blocks a ``Trunk``.

    Raises:
        UnsupportedModelError: they were not found or do not reproduce the model's logits, or the model is no causal
            one, as an encoder.
        InputError: a weight is NaN or infinite; the message names its tensor.
    """
    _check_finite(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            return _found_and_verified(model)
    finally:
        for module, training in modes.items():
            module.training = training


def _found_and_verified(model: PreTrainedModel) -> Anatomy:
    head = model.get_output_embeddings()
    if not isinstance(getattr(head, "weight", None), Tensor) or head.weight.dim() != 2:
        raise UnsupportedModelError(model, "it has no output matrix (get_output_embeddings)")
    steps = _constants(model)
    watched = _Watch(model, steps)
    blocks, finish, before = watched.path_to(head)
    trunk, seen = model.get_submodule(blocks), watched.input_of(head)
    _verify_causal(model, head, seen)
    after = _explain(*_large_logits(model, head, seen), steps)
    if after is None:
        raise UnsupportedModelError(model, "its steps on the logits after the output matrix were not recognised")
    anatomy = Anatomy(blocks, len(trunk), finish, before, after)
    anatomy.prepare(model)
    _verify_early_end(model, anatomy, head, seen)
    return anatomy


def _check_finite(model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if type(parameter.data) is not Tensor:  # quantised weights do not know their extremes
            continue
        if parameter.is_floating_point() and not parameter.is_meta and parameter.numel() and parameter.itemsize > 1:
            ends = torch.stack(parameter.detach().aminmax())  # without a copy of the weights
            if not ends.isfinite().all():
                raise InputError(
                    f"{type(model).__name__} can't be given exits: {name} holds NaN or infinity; fetch the model's "
                    "weights again, or take others"
                )


def _verify_causal(model: PreTrainedModel, head: nn.Module, seen: Tensor) -> None:
    """Another token at the end changes nothing before it."""
    found: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    try:
        _probe(model, last=PROBE_LENGTH)
    finally:
        hook.remove()
    if not _close(found[0][:, :-1], seen[:, :-1]):
        raise UnsupportedModelError(model, "a token changes what it reads before that token, as in an encoder")


def _large_logits(model: PreTrainedModel, head: nn.Module, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Products (1, T, V) of the output matrix with enlarged states, and the model's logits for them."""
    factor = PROBE_LOGIT / float(head(seen).abs().max().clamp(min=1e-6))
    hook = head.register_forward_pre_hook(lambda module, inputs: (inputs[0] * factor, *inputs[1:]))
    try:
        logits = _probe(model).logits
    finally:
        hook.remove()
    return head(seen * factor), logits


def _verify_early_end(model: PreTrainedModel, anatomy: Anatomy, head: nn.Module, seen: Tensor) -> None:
    """The state tapped at a layer and normed is what the head sees when the trunk ends there."""
    middle = max(1, anatomy.num_layers // 2)
    anatomy.tap(model, (middle,))
    tap_head(head)
    try:
        with trunk_run(anatomy.num_layers, (middle,), head) as run:
            _probe(model)
            whole, tapped = run.head_input, anatomy.normed(model, run.states[middle])
        with trunk_run(middle, (), head) as run:
            _probe(model)
            early = run.head_input
    except UnsupportedModelError as error:
        raise UnsupportedModelError(model, "its loop over blocks can't end early") from error
    if not (_close(whole, seen) and _close(early, tapped)):
        raise UnsupportedModelError(model, "ending its loop over blocks early changes more than the last layer")


def _probe(model: PreTrainedModel, last: int = PROBE_LENGTH - 1) -> Any:
    """The outputs for four tokens from the middle of the vocabulary, away from special tokens.

    ``last`` is the distance of the last token from the first in the vocabulary.
    """
    weight = model.get_input_embeddings().weight
    steps = torch.tensor([*range(PROBE_LENGTH - 1), last], device=weight.device)
    ids = (steps + weight.shape[0] // 2) % weight.shape[0]
    inputs = {"input_ids": ids[None]}
    if model.config.is_encoder_decoder:
        inputs = {"input_ids": ids[None, :-1], "decoder_input_ids": ids[None]}
    try:
        return model(**inputs, use_cache=False, return_dict=True)
    except Exception as error:  # any kind: families raise what they like
        raise UnsupportedModelError(model, f"it fails on plain text ({type(error).__name__}: {error})") from error


class _Watch:
    """Inputs and outputs of every module during one probe, kept alive so that their addresses identify them."""

    def __init__(self, model: PreTrainedModel, steps: list[LogitStep]) -> None:
        self.model = model
        self.steps = steps
        self.names = {module: name for name, module in model.named_modules()}
        self.calls: list[tuple[nn.Module, Any, Any]] = []
        """(module, its first input, its output) in the order in which modules returned."""
        hooks = [module.register_forward_hook(self._record, with_kwargs=True) for module in self.names]
        try:
            _probe(model)
        finally:
            for hook in hooks:
                hook.remove()

    def _record(self, module: nn.Module, inputs: tuple, named: dict, output: Any) -> None:
        self.calls.append((module, next(iter((*inputs, *named.values())), None), state_in(output)))

    def input_of(self, module: nn.Module) -> Tensor:
        return next(given for called, given, _ in self.calls if called is module)

    def output_of(self, module: nn.Module) -> Tensor:
        return next(output for called, _, output in self.calls if called is module)

    def path_to(self, head: nn.Module) -> tuple[str, tuple[str, ...], tuple[LogitStep, ...]]:
        """The name of the list of blocks, and the modules and steps from its last block to the head."""
        if not any(called is head for called, *_ in self.calls):
            raise UnsupportedModelError(self.model, "its output matrix is not called as a module")
        times_run = Counter(called for called, *_ in self.calls)
        lists = [name for name, module in self.model.named_modules() if isinstance(module, nn.ModuleList) and module]
        for name in sorted(lists, key=lambda name: name.count(".")):
            blocks = list(self.model.get_submodule(name))
            if all(times_run[block] == 1 for block in blocks):
                ended = next(i for i, (called, *_) in enumerate(self.calls) if called is blocks[-1])
                found = self._chain(self.calls[ended][2], ended + 1, head)
                if found is not None:
                    return name, *found
        raise UnsupportedModelError(self.model, "no list of blocks leads through modules to its output matrix")

    def _chain(self, state: Any, start: int, head: nn.Module) -> tuple[tuple[str, ...], tuple[LogitStep, ...]] | None:
        """Names of the modules that turn ``state`` into the head's input, outermost first, and the steps after them."""
        takers = [
            (end, module)
            for end, (module, given, output) in enumerate(self.calls[start:], start + 1)
            if _same(given, state) and not _same(output, state) and head not in module.modules()
        ]
        for end, module in sorted(takers, key=lambda taker: self.names[taker[1]].count(".")):
            found = self._chain(self.calls[end - 1][2], end, head)
            if found is not None:
                return (self.names[module], *found[0]), found[1]
        steps = _explain(state, self.input_of(head), self.steps) if isinstance(state, Tensor) else None
        return None if steps is None else ((), steps)


def _same(one: Any, other: Any) -> bool:
    both = isinstance(one, Tensor) and isinstance(other, Tensor)
    return both and one.data_ptr() == other.data_ptr() and one.numel() == other.numel()


def _constants(model: PreTrainedModel) -> list[LogitStep]:
    """Every step that the model might apply with a constant of its configuration."""
    configs = (model.config, model.config.get_text_config(decoder=True))
    values = [value for config in configs for value in config.to_dict().values()]
    numbers = {float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and 0 < v != 1}
    kinds = {"times": lambda c: (c, c**-0.5, c**0.5), "over": lambda c: (c,), "softcap": lambda c: (c,)}
    return [LogitStep(kind, c) for number in sorted(numbers) for kind, of in kinds.items() for c in of(number)]


def _explain(x: Tensor, y: Tensor, steps: list[LogitStep]) -> tuple[LogitStep, ...] | None:
    """The steps, at most two, that turn ``x`` into ``y``; None if no steps do."""
    if x.shape != y.shape:
        return None
    few = slice(None, None, max(1, x.numel() // 512))  # enough to choose steps, which are checked on all
    some_x, some_y = x.flatten()[few], y.flatten()[few]
    pairs = ((one, other) for one in steps for other in steps if one.kind != "softcap" == other.kind)
    for ways in ([()], [(step,) for step in steps], pairs):
        best = min(ways, key=lambda way: _distance(_apply(way, some_x), some_y), default=())
        if _close(_apply(best, x), y):
            return best
    return None


def _distance(x: Tensor, y: Tensor) -> float:
    """Largest difference relative to the largest value; infinite for NaN."""
    x, y = x.double(), y.double()
    distance = float((x - y).abs().max() / y.abs().max().clamp(min=1e-9))
    return distance if distance == distance else float("inf")


def _close(x: Tensor, y: Tensor) -> bool:
    rounding = max(torch.finfo(x.dtype).eps, torch.finfo(y.dtype).eps)
    return x.shape == y.shape and _distance(x, y) <= 16 * rounding
