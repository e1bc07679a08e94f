"""Each token ends at the first exit that is confident of it (Schuster et al. 2022, sections 3.2-3.5).

"Confident Adaptive Language Modeling", https://arxiv.org/abs/2207.07061. Once an exit is confident at a position, the
layers above keep the position's state and take their keys and values from it (state propagation), so that later
positions can attend to it there. A batch runs a layer while one of its positions needs it; after that, only the keys
and values of the layer are computed. All positions are treated alike, those of the prompt included: the result is the
same with and without a cache, in a batch, and in one pass over a given text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_utils import slice_logits_to_keep

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import Named, build, parameter
from autocontrastive_gen.modeling.arithmetic import CHUNK
from autocontrastive_gen.modeling.plausible import most_likely
from autocontrastive_gen.modeling.trunk import trunk_run


@dataclass(frozen=True)
class EarlyExit(Named):
    """When an exit is confident enough to end a token at its layer.

    Raises:
        InputError: a field is out of range.

    >>> EarlyExit(0.8, layers=(6, 4)).layers
    (4, 6)
    """

    name: ClassVar[str] = "early_exit"
    threshold: float = parameter(
        0.9, "Confidence at which a token ends, from 0 (at the first exit asked) to 1.", low=0, high=1
    )
    criterion: str = parameter(
        "softmax",
        "softmax: the largest probability; margin: the largest less the second largest (CALM's softmax response).",
        kind=str,
        choices=("softmax", "margin"),
    )
    layers: tuple[int, ...] = parameter(
        (),
        "Exits that are asked, each at the price of its head; empty: all of the model's.",
        kind=int,
        low=1,
        many=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))

    @classmethod
    def parse(cls, value: Any) -> "EarlyExit | None":
        """From a threshold (also as a string), a mapping of the fields, or an ``EarlyExit``."""
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            return build(cls, value)
        try:
            threshold = float(value) if isinstance(value, str) else value
        except ValueError:
            raise InputError(
                f"early_exit: give a threshold from 0 to 1, or a mapping of threshold, criterion, layers; got {value!r}"
            ) from None
        return cls(threshold=threshold)

    def confidence(self, logits: Tensor) -> Tensor:
        """Confidence (rows,) of an exit from its logits (rows, V)."""
        values, _ = most_likely(logits.float(), min(2, logits.shape[-1]))
        probabilities = (values - logits.float().logsumexp(-1, keepdim=True)).exp()
        return probabilities[:, 0] if self.criterion == "softmax" else probabilities[:, 0] - probabilities[:, -1]


class EarlyExitPass:
    """One forward under early exit: which positions have ended, where, and with which logits.

    Args:
        model: a multi-exit model.
        rule: when to end, with the layers to ask.
        inputs: arguments of the forward, by name.
    """

    def __init__(self, model: Any, rule: EarlyExit, inputs: Mapping[str, Any]) -> None:
        self.model, self.rule, self.keep = model, rule, inputs.get("logits_to_keep", 0)
        mask = inputs.get("decoder_attention_mask" if model.config.is_encoder_decoder else "attention_mask")
        self.real = mask.bool() if isinstance(mask, Tensor) and mask.dim() == 2 else None
        """(B, at least T): False at padding, which needs no layer; None: there is no mask."""
        self.begun = False
        self.running: Tensor
        """(B, T) bool: positions that have not ended yet."""
        self.all_running, self.none_running = True, False
        self.last_output: Any = None
        """What the last block returned; later blocks return the same with another state."""

    def wrap(self, layer: int, block: nn.Module) -> "_Block":
        """What the family's loop calls in place of the block."""
        return _Block(self, layer, block)

    def begin(self, state: Tensor) -> None:
        """Prepare the bookkeeping for states (B, T, d)."""
        self.begun = True
        length, device = state.shape[1], state.device
        self.running = torch.ones(state.shape[:2], dtype=torch.bool, device=device)
        if self.real is not None:
            self.running &= self.real[:, -length:].to(device)
        positions = torch.arange(self.running.numel(), device=device).view(-1, length, 1)
        kept = slice_logits_to_keep(positions, self.keep).flatten()
        self.slot = torch.full((self.running.numel(),), -1, device=device)  # position -> where its logits go
        self.slot[kept] = torch.arange(len(kept), device=device)
        self.depth = torch.zeros(len(kept), dtype=torch.long, device=device)  # where a kept position ended; 0: nowhere
        self.counts = self.running.flatten()[kept]
        self.logits: Tensor | None = None  # (kept, V)
        self._look()

    def _look(self) -> None:
        self.all_running, self.none_running = bool(self.running.all()), not bool(self.running.any())

    def ask(self, layer: int, state: Tensor) -> None:
        """End the positions at which the exit of ``layer`` is confident; states (B, T, d)."""
        running = self.running.flatten().nonzero().squeeze(-1)
        rows = max(1, CHUNK // self.model.get_output_embeddings().weight.shape[0])  # logits are never whole
        for some in running.split(rows):
            states = state.flatten(0, 1)[some.to(state.device)].unsqueeze(0)  # (1, rows, d)
            with trunk_run(None, (), None):  # the pass through the trunk skips the head, which is needed here
                logits = self.model.project_exit(self.model.normed(layer, states), layer)[0]
            confident = self.rule.confidence(logits) >= self.rule.threshold
            ended = some[confident.to(some.device)]
            self.running.view(-1)[ended] = False
            self._store(layer, self.slot[ended], logits[confident])
        self._look()

    def _store(self, layer: int, slots: Tensor, logits: Tensor) -> None:
        wanted = slots >= 0
        if self.logits is None:
            self.logits = logits.new_empty(len(self.depth), logits.shape[-1])
        device = self.logits.device
        self.logits[slots[wanted].to(device)] = logits[wanted.to(logits.device)].to(device)
        self.depth[slots[wanted]] = layer

    def finish(self, head_input: Tensor) -> Tensor:
        """Logits (B, kept, V): those of the exits, the rest by the original head from its input (B, kept, d)."""
        self.model.tokens_per_layer.update(self._tokens_per_layer())
        left = self.depth == 0
        if self.logits is None or bool(left.all()):
            return self.model.project_exit(head_input, "original")
        if bool(left.any()):
            states = head_input.flatten(0, -2)[left.to(head_input.device)].unsqueeze(0)
            self._store(0, left.nonzero().squeeze(-1), self.model.project_exit(states, "original")[0])
        return self.logits.view(*head_input.shape[:-1], -1)

    def _tokens_per_layer(self) -> Counter:
        """Number of kept positions, without padding, by the layer at which they ended."""
        depth = torch.where(self.depth > 0, self.depth, self.model.num_layers)[self.counts]
        return Counter(depth.tolist())


class _Block:
    """A block under early exit; its attributes are those of the block."""

    def __init__(self, run: EarlyExitPass, layer: int, block: nn.Module) -> None:
        self._run, self._layer, self._block = run, layer, block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = self._run
        state = args[0] if args else kwargs["hidden_states"]
        if not run.begun:
            run.begin(state)
        if run.none_running and run.last_output is not None:
            _keys_and_values(self._block, args, kwargs)
            return _with_state(run.last_output, state)
        run.last_output = self._block(*args, **kwargs)
        new = _state(run.last_output)
        if not run.all_running:
            new = torch.where(run.running.unsqueeze(-1).to(new.device), new, state.to(new.device))
        if self._layer in run.rule.layers and not run.none_running:
            run.ask(self._layer, new)
        return _with_state(run.last_output, new)


def _state(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def _with_state(output: Any, state: Tensor) -> Any:
    return state if isinstance(output, Tensor) else (state, *output[1:])


class _Stored(Exception):
    """Raised once a block has written its keys and values, to skip the rest of it."""


def _keys_and_values(block: nn.Module, args: tuple, kwargs: dict) -> None:
    """Run a block until it has written to the cache; a block that does not (a recurrent one) runs whole."""
    cache = next((x for x in (*args, *kwargs.values()) if isinstance(x, Cache)), None)
    if cache is not None:
        with _stopping_at_update(cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache):
            block(*args, **kwargs)


@contextmanager
def _stopping_at_update(cache: Cache) -> Iterator[None]:
    # A cache belongs to one generation: no other thread sees the changed method.
    def update(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        raise _Stored

    write = cache.update
    cache.update = update
    try:
        yield
    except _Stored:
        pass
    finally:
        del cache.update
