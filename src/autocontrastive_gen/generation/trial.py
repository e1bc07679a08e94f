"""A trial: one prompt, and the settings under which it is continued, as JSON that can be kept and passed on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import Named, parameter
from autocontrastive_gen.generation.decode import encode_prompt, generate_texts
from autocontrastive_gen.generation.decoder import DECODERS, Decoder
from autocontrastive_gen.modeling.method import METHODS

MOST_TOKENS, MOST_CHARACTERS, MOST_SETTINGS = 512, 20_000, 4
EXIT_FIELDS = ("output_layer_index", "contrast_layer_indices", "contrast_function", "early_exit")
"""Fields of ``MultiExitConfiguration`` that a trial may hold; without any, a setting reads the original head."""


@dataclass(frozen=True)
class TrialSetting:
    """A decoder, and the exit or contrast that it reads."""

    decoder: Decoder
    exits: Mapping[str, Any]
    """Arguments of ``model.set_exits``."""

    @classmethod
    def read(cls, content: Any) -> TrialSetting:
        """A setting from ``{"decoder": {"method": ..., parameters}, "exits": {...}}``; both may be left out.

        Raises:
            InputError: a key, name or value is not allowed. A contrast must be one of the library's: a trial may come
                from anywhere, and ``module:function`` would import what it names.
        """
        content = _mapping("a setting", content, ("decoder", "exits"))
        decoder = _mapping("decoder", content.get("decoder", {}))
        exits = _mapping("exits", content.get("exits", {}), EXIT_FIELDS)
        contrast = exits.get("contrast_function")
        if contrast is not None:
            name = contrast.get("name") if isinstance(contrast, Mapping) else contrast
            if not isinstance(name, str) or name not in METHODS:
                raise InputError(f"contrast_function: {name!r} is not one of {', '.join(METHODS)}")
        parameters = {key: value for key, value in decoder.items() if key != "method"}
        return cls(DECODERS.build(decoder.get("method", "greedy"), parameters), dict(exits))

    @property
    def content(self) -> dict[str, Any]:
        """What ``read`` reads, with every parameter of the decoder."""
        return {"decoder": {"method": self.decoder.name, **self.decoder.parameters}, "exits": dict(self.exits)}

    @property
    def is_plain(self) -> bool:
        """Whether this is plain greedy search with the original head."""
        return not self.exits and self.decoder == DECODERS.build("greedy", {})

    def of(self, model):
        """A copy of the model under this setting, which shares the weights.

        Raises:
            InputError: the model lacks an exit, or fields contradict each other.
        """
        own = copy.copy(model)
        own.set_exits(**self.exits)
        return own


@dataclass(frozen=True)
class Trial(Named):
    """One prompt and the settings under which it is continued.

    Raises:
        InputError: a number is out of range, or there are too many settings.
    """

    name: ClassVar[str] = "trial"
    prompt: str = ""
    settings: tuple[TrialSetting, ...] = ()
    new_tokens: int = parameter(80, "Tokens per continuation.", kind=int, low=1, high=MOST_TOKENS)
    seed: int = parameter(2023, "Seed of what decoders draw.", kind=int, low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prompt, str) or len(self.prompt) > MOST_CHARACTERS:
            raise InputError(f"prompt: give a text of at most {MOST_CHARACTERS} characters")
        if not 1 <= len(self.settings) <= MOST_SETTINGS:
            raise InputError(f"settings: give 1 to {MOST_SETTINGS} of them, got {len(self.settings)}")

    @classmethod
    def read(cls, content: Any) -> Trial:
        """A trial from its JSON: "prompt", "settings" (``TrialSetting.read``), "new_tokens", "seed".

        Raises:
            InputError: a key or a value is not allowed.
        """
        content = _mapping("the trial", content, ("prompt", "settings", "new_tokens", "seed"))
        settings = content.get("settings", [])
        if not isinstance(settings, list):
            raise InputError(f"settings: give a list, got {settings!r}")
        return cls(**{**content, "settings": tuple(map(TrialSetting.read, settings))})

    @property
    def content(self) -> dict[str, Any]:
        """What ``read`` reads."""
        settings = [setting.content for setting in self.settings]
        return {"prompt": self.prompt, "new_tokens": self.new_tokens, "seed": self.seed, "settings": settings}

    def encoded(self, model, tokenizer) -> list[int]:
        """The tokens of the prompt; raises InputError if the model cannot continue them under every setting."""
        for number, setting in enumerate(self.settings, start=1):
            try:
                setting.of(model)
            except InputError as error:
                raise InputError(f"setting {number}: {error}") from None
        return encode_prompt(model, tokenizer, self.prompt, self.new_tokens)

    def texts(self, model, tokenizer) -> list[dict]:
        """The continuation under each setting, as rows of ``generate_texts``.

        Raises:
            InputError: as ``encoded``.
        """
        self.encoded(model, tokenizer)
        prompts, options = [{"id": "", "prompt": self.prompt}], (self.new_tokens, self.seed, 1)
        return [generate_texts(s.of(model), tokenizer, prompts, s.decoder, *options)[0] for s in self.settings]


def _mapping(what: str, content: Any, allowed: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise InputError(f"{what}: give a mapping, got {content!r}")
    if allowed is not None and (unknown := sorted(set(content) - set(allowed))):
        raise InputError(f"{what}: has no {', '.join(map(repr, unknown))}; there are {', '.join(allowed)}")
    return content
