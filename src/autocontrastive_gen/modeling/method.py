"""The contract of a contrast method: which exits it reads, and what it makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import Named, Registry
from autocontrastive_gen.modeling.layers import Exit


class Lowers(ABC):
    """The lower exits of one forward at its kept positions; nothing is computed before a method asks for it.

    Leading dimensions (...) are those of the upper logits; "rows" are these dimensions, flattened.
    """

    exits: tuple[Exit, ...]
    """What ``Method.lower_exits`` returned, in that order."""
    layers: tuple[int, ...]
    """The layer of each of them."""
    upper_layer: int
    """The layer of the upper exit."""

    @abstractmethod
    def logits(self, exit_: Exit, final_norm: bool = True) -> Tensor:
        """All logits (..., V) of an exit; without ``final_norm``, of its state as the block left it."""

    def all_logits(self, final_norm: bool = True) -> list[Tensor]:
        """Logits (..., V) of every exit, in order; cheaper than one by one where the exits share an output matrix."""
        return [self.logits(exit_, final_norm) for exit_ in self.exits]

    @abstractmethod
    def logits_at(self, exit_: Exit, token_ids: Tensor) -> Tensor:
        """Logits (rows, K) of an exit at the tokens ``token_ids`` (rows, K) alone."""

    @abstractmethod
    def candidate_limit(self, exit_: Exit, rows: int) -> int:
        """The largest K for which ``logits_at`` costs less than ``logits``; 0 if it never does."""

    @abstractmethod
    def states(self, exit_: Exit) -> Tensor:
        """Final-normed states (..., d) from which an exit makes its logits."""

    @abstractmethod
    def part(self, start: int, stop: int) -> Lowers:
        """The same exits at some of the rows; their leading dimension is (stop - start,)."""


class GivenLogits(Lowers):
    """Lower exits whose logits are at hand.

    Args:
        upper_logits: (..., V), whose shape the others must have.
        logits: (..., V) of each exit.
        states: (..., d) of each exit, for methods that read states.
        upper_layer: the layer of the upper exit; by default the next one.

    Raises:
        InputError: they are no float tensors, or their shapes differ.
    """

    def __init__(
        self,
        upper_logits: Tensor,
        logits: Mapping[Exit, Tensor],
        states: Mapping[Exit, Tensor] | None = None,
        upper_layer: int | None = None,
    ) -> None:
        for each in (upper_logits, *logits.values()):
            if not isinstance(each, Tensor) or not each.is_floating_point() or not each.numel() or not each.dim():
                kind = f"{each.dtype}, shape {tuple(each.shape)}" if isinstance(each, Tensor) else type(each).__name__
                raise InputError(f"logits must be a float tensor (..., V) with at least one token, got {kind}")
        for other in logits.values():
            if other.shape != upper_logits.shape:
                raise InputError(
                    f"the exits' logits must have one shape, got {tuple(upper_logits.shape)} and "
                    f"{tuple(other.shape)}; project the same positions through each exit"
                )
        self.exits, self._upper, self._logits, self._states = tuple(logits), upper_logits, logits, states or {}
        # Exits that are no numbers are taken for successive layers.
        self.layers = tuple(exit_ if isinstance(exit_, int) else i for i, exit_ in enumerate(self.exits, 1))
        self.upper_layer = max(self.layers, default=0) + 1 if upper_layer is None else upper_layer

    def logits(self, exit_: Exit, final_norm: bool = True) -> Tensor:
        """The logits as they were given: whoever projected the states has decided on the norm."""
        return self._logits[exit_]

    def logits_at(self, exit_: Exit, token_ids: Tensor) -> Tensor:
        return self._logits[exit_].flatten(0, -2).gather(-1, token_ids)

    def candidate_limit(self, exit_: Exit, rows: int) -> int:
        return 0  # there is nothing left to save

    def states(self, exit_: Exit) -> Tensor:
        if exit_ not in self._states:
            raise InputError(f"this method reads states, and exit {exit_} has logits alone; use it through a model")
        return self._states[exit_]

    def part(self, start: int, stop: int) -> GivenLogits:
        def cut(x: Tensor) -> Tensor:
            return x.reshape(-1, x.shape[-1])[start:stop]

        logits, states = ({exit_: cut(x) for exit_, x in of.items()} for of in (self._logits, self._states))
        return GivenLogits(cut(self._upper), logits, states, self.upper_layer)


@dataclass(frozen=True)
class Method(Named, ABC):
    """A way to combine exits; alone in knowing which lower exits, and what of them, it needs.

    A method is a frozen dataclass in a module of ``autocontrastive_gen.modeling.methods`` (or one of yours, with
    ``register`` or by ``module:Class``); its fields are its parameters. All work in log space and return float32.
    """

    kind: ClassVar[str] = "contrast method"

    @property
    def takes_lower(self) -> bool:
        """Whether a lower layer is to be chosen for it; else it names its lower exits itself, or reads none."""
        return True

    def lower_exits(self, lower: Exit | None, upper: Exit, exits: Sequence[int], depth: int) -> tuple[Exit, ...]:
        """The lower exits that it reads.

        Args:
            lower: the lower exit that was chosen, or None.
            upper: the upper exit.
            exits: layers at which the model has exits.
            depth: number of blocks of the model.

        Raises:
            InputError: a lower exit must be chosen, or the model lacks the exits.
        """
        if lower is None:
            raise InputError(f"{self.name} needs a lower layer; the model has exits at {_listed(exits)}")
        return (lower,)

    @abstractmethod
    def evaluate(self, upper_logits: Tensor, lowers: Lowers) -> Tensor:
        """Log-probabilities (..., V) in float32 from the upper exit's logits (..., V) in any float type."""

    def __call__(self, upper_logits: Tensor, lower_logits: Tensor) -> Tensor:
        """The reference's contract: log-probabilities from the logits (..., V) of two exits."""
        return self.evaluate(upper_logits, GivenLogits(upper_logits, {"lower": lower_logits}))

    @property
    def is_distribution(self) -> bool:
        """Whether the result is a log-distribution.

        If not, it holds scores of tokens, which are summed as they are: a softmax would change what they mean.
        """
        return True

    def plausible(self, upper_logits: Tensor) -> Tensor | None:
        """Which tokens it may reorder: a mask of upper logits (rows, V) in float32; None if the upper exit limits none.

        For readers of its results; ``evaluate`` may find the tokens in another way.
        """
        return None

    @property
    def same_choice_as(self) -> Method | None:
        """A method that has the same most likely token at every position, given the same lower exit; None if unknown.

        Under greedy search the two generate the same text; sampling, beam search and scoring tell them apart.
        """
        return None


def _listed(exits: Sequence[int]) -> str:
    return ", ".join(map(str, exits)) or "no layer"


METHODS: Registry[Method] = Registry("contrast method", "autocontrastive_gen.modeling.methods")
"""Every contrast method by its name."""
