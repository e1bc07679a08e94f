"""How exits are trained: every setting with its default, its range and its help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Self

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import Named, build, parameter

COUNT: dict[str, Any] = {"kind": int, "low": 1}
"""A whole number of at least 1."""


@dataclass(frozen=True)
class _Settings(Named):
    @classmethod
    def read(cls, value: Any) -> Self:
        """An instance as it is, or one made from a mapping of settings.

        Raises:
            InputError: a setting is unknown or out of range.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InputError(f"{cls.name} must be a mapping of settings, got {value!r}")
        return build(cls, value)


@dataclass(frozen=True)
class CastFit(_Settings):
    """Least squares from an exit's normed states to the final normed states (Din et al. 2023, arXiv 2303.09435).

    >>> CastFit(damping=0.01).tokens
    60000
    """

    name: ClassVar[str] = "cast"

    damping: float = parameter(0.001, "Ridge, relative to the mean of the diagonal of X'X.", low=0)
    tokens: int = parameter(60_000, "Tokens that the fit reads.", **COUNT)
    text: Literal["given", "generated"] = parameter(
        "given",
        "Positions of the training text, or positions of text that the model generates (the reference's way).",
        kind=str,
        choices=("given", "generated"),
    )
    texts: int = parameter(5000, "If text is generated: number of texts.", **COUNT)
    vectors_per_text: int = parameter(5, "If text is generated: positions drawn from each of them.", **COUNT)


@dataclass(frozen=True)
class SampledSoftmax(_Settings):
    """The vocabulary of a training step: frequent tokens, the batch's labels and random negatives.

    >>> SampledSoftmax(negatives=512)
    SampledSoftmax(frequent=1024, negatives=512)
    """

    name: ClassVar[str] = "sampled_softmax"

    frequent: int = parameter(1024, "Most frequent tokens of the training text, in every step.", kind=int, low=0)
    negatives: int = parameter(2048, "Tokens drawn at random in each step.", **COUNT)


@dataclass(frozen=True)
class TrainSettings(_Settings):
    """How ``fit_exits`` trains.

    ``cast`` and ``sampled_softmax`` may also be given as mappings.

    Raises:
        InputError: a setting is out of range, or two of them contradict each other.

    >>> TrainSettings(batch_size=4, cast={"damping": 0.01}).cast.damping
    0.01
    >>> TrainSettings(batch_size=0)
    Traceback (most recent call last):
    autocontrastive_gen.foundation.errors.InputError: batch_size of train must be a whole number of at least 1, got 0
    """

    name: ClassVar[str] = "train"

    method: Literal["none", "least-squares", "cross-entropy", "distillation"] = parameter(
        "distillation",
        "distillation: KL divergence to the model's final distribution; cross-entropy: with the next token (the "
        "paper's); least-squares: casts alone; none: the exits are only measured.",
        kind=str,
        choices=("none", "least-squares", "cross-entropy", "distillation"),
    )
    start: Literal["cast", "copy", "random"] = parameter(
        "cast",
        "Where gradient steps start: layer-specific heads from head x cast, from a copy of the head, or from random "
        "weights (the paper's); casts from least squares, from the identity, or from random weights.",
        kind=str,
        choices=("cast", "copy", "random"),
    )
    cast: CastFit = parameter(CastFit(), "The least-squares fit of the casts.", kind=CastFit.read)
    sampled_softmax: SampledSoftmax | None = parameter(
        None,
        "Losses over a sample of the vocabulary, several times cheaper; None takes the whole vocabulary.",
        kind=SampledSoftmax.read,
        optional=True,
    )
    block_size: int = parameter(128, "Tokens in a block of training text.", kind=int, low=2)
    batch_size: int = parameter(8, "Blocks per step, over all processes.", **COUNT)
    microbatch_size: int | None = parameter(
        None,
        "Blocks per pass: bounds memory, and is the unit that processes share out; None takes the whole batch.",
        optional=True,
        **COUNT,
    )
    epochs: int = parameter(1, "Passes over the training text.", **COUNT)
    learning_rate: float = parameter(0.001, "Of AdamW, after the warm-up.", above=0)
    betas: tuple[float, float] = parameter((0.9, 0.99), "Of AdamW.", low=0, high=1, many=True)
    weight_decay: float = parameter(0.0, "Of AdamW.", low=0)
    warmup_steps: int = parameter(5, "Steps over which the learning rate rises.", kind=int, low=0)
    schedule: Literal["linear", "cosine", "constant"] = parameter(
        "linear",
        "How the learning rate falls after the warm-up.",
        kind=str,
        choices=("linear", "cosine", "constant"),
    )
    trunk_dropout: bool = parameter(
        False, "Run the frozen trunk with its dropout on, as the paper-time code did.", kind=bool
    )
    cache_states: bool = parameter(
        True, "Keep the trunk's states on disk, so that it runs once and not once per epoch.", kind=bool
    )
    bf16: bool = parameter(
        False,
        "Matrix products in bfloat16, unless the CPU has no instructions for it; weights and sums stay in float32.",
        kind=bool,
    )
    evaluate_every: int = parameter(60, "Steps between evaluations and checkpoints.", **COUNT)
    patience: int | None = parameter(
        None, "Stop after this many evaluations without a gain; None trains to the end.", optional=True, **COUNT
    )
    validation_tokens: int = parameter(2048, "Held-out tokens per domain.", **COUNT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or max(self.betas) >= 1:
            raise InputError(f"betas of train must be two numbers from 0 to below 1, got {list(self.betas)}")
        if self.trunk_dropout and self.cache_states and self.uses_gradients:
            raise InputError(
                "cache_states: true keeps the states of a trunk without dropout; set it to false with trunk_dropout"
            )

    @property
    def uses_gradients(self) -> bool:
        """Whether there are gradient steps."""
        return self.method in ("cross-entropy", "distillation")

    def changed(self, changes: Mapping[str, Any]) -> TrainSettings:
        """These settings with ``changes``.

        Raises:
            InputError: a setting is unknown or out of range.
        """
        return build(TrainSettings, {**{each.name: getattr(self, each.name) for each in fields(self)}, **changes})

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-like values."""
        return asdict(self)
