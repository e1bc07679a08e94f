"""The names of settings: ``<decoder>[-exit<l>][-<contrast>[<l>]]``; in benchmarks, without the decoder.

Decoders and contrasts are entries of two catalogues in the parameters. A contrast's name consists of letters, so a
number after it is its lower layer. A decoder's name may contain hyphens and digits; the longest one that fits wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from autocontrastive_gen.foundation.errors import InputError

ORIGINAL = "original"
"""The benchmark setting that reads the model's own head."""
RESERVED = (ORIGINAL, "exit", "human")
"""Words of the grammar and of reports, which cannot be the name of a contrast."""
GRAMMAR = "<decoder>[-exit<l>][-<contrast>[<l>]]"
BENCHMARK_GRAMMAR = f"{ORIGINAL}, exit<l>, <contrast>[<l>] or exit<u>-<contrast>[<l>]"

_TAIL = r"(?:exit(?P<exit>[1-9]\d{0,5}))?(?:(?(exit)-)(?P<contrast>[a-z]+)(?P<lower>[1-9]\d{0,5})?)?"
_PATTERN = re.compile(_TAIL)


@dataclass(frozen=True)
class Setting:
    """What the name of a setting states.

    Attributes:
        name: the name itself.
        decoder: an entry of ``decoders``; None in benchmarks.
        exit: the exit that is read, or the upper exit of a contrast; None stands for the model's ``upper``.
        contrast: an entry of ``contrasts``; None for a setting without contrast.
        lower: the lower layer; None leaves it to the model's ``lower``, or to a method that takes no lower layer.
    """

    name: str
    decoder: str | None
    exit: int | None = None
    contrast: str | None = None
    lower: int | None = None

    @property
    def plain(self) -> Setting:
        """The same setting without contrast, with which a contrast is compared."""
        tail = [] if self.exit is None else [f"exit{self.exit}"]
        head = [] if self.decoder is None else [self.decoder]
        return replace(self, name="-".join([*head, *tail]) or ORIGINAL, contrast=None, lower=None)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that the name states."""
        return tuple(layer for layer in (self.exit, self.lower) if layer is not None)


def parse_setting(name: str, decoders: Iterable[str], contrasts: Iterable[str]) -> Setting:
    """Read a name of ``run.settings``.

    Args:
        decoders: names in the catalogue of decoders.
        contrasts: names in the catalogue of contrasts.

    Raises:
        InputError: the name does not follow the grammar, or states an entry that is in neither catalogue.
    """
    decoders, contrasts = list(decoders), list(contrasts)
    for decoder in sorted(decoders, key=len, reverse=True):
        if name == decoder:
            return Setting(name, decoder)
        if name.startswith(f"{decoder}-"):
            tail = _PATTERN.fullmatch(name[len(decoder) + 1 :])
            if tail and tail.group():
                return _checked(name, decoder, tail, contrasts)
    raise InputError(
        f"{name!r} is not a setting; allowed: {GRAMMAR} with a decoder of {', '.join(decoders) or 'none'} "
        f"and a contrast of {', '.join(contrasts) or 'none'}"
    )


def parse_benchmark_setting(name: str, contrasts: Iterable[str]) -> Setting:
    """Read a name of ``run.benchmark_settings``; see ``parse_setting``."""
    contrasts = list(contrasts)
    tail = _PATTERN.fullmatch(name)
    if name == ORIGINAL:
        return Setting(name, None)
    if not name or tail is None:
        raise InputError(
            f"{name!r} is not a benchmark setting; allowed: {BENCHMARK_GRAMMAR} with a contrast of "
            f"{', '.join(contrasts) or 'none'}"
        )
    return _checked(name, None, tail, contrasts)


def _checked(name: str, decoder: str | None, tail: re.Match, contrasts: list[str]) -> Setting:
    contrast = tail["contrast"]
    if contrast is not None and contrast not in contrasts:
        raise InputError(f"{name!r} is not a setting; contrasts has no {contrast!r}: {', '.join(contrasts) or 'none'}")
    exit_, lower = (int(tail[key]) if tail[key] else None for key in ("exit", "lower"))
    if exit_ is not None and lower is not None and lower >= exit_:
        raise InputError(f"{name!r}: the lower layer {lower} must lie below the upper exit {exit_}")
    return Setting(name, decoder, exit_, contrast, lower)


@dataclass(frozen=True)
class Grid:
    """The settings of a run, read with its own catalogues."""

    settings: tuple[Setting, ...]
    benchmark_settings: tuple[Setting, ...]

    @classmethod
    def of(
        cls,
        settings: Iterable[str],
        benchmark_settings: Iterable[str],
        decoders: Iterable[str],
        contrasts: Iterable[str],
    ) -> Grid:
        """Parse the names of a run.

        Raises:
            InputError: a name is wrong.
        """
        decoders, contrasts = tuple(decoders), tuple(contrasts)
        return cls(
            tuple(parse_setting(name, decoders, contrasts) for name in settings),
            tuple(parse_benchmark_setting(name, contrasts) for name in benchmark_settings),
        )

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the contrasts that the settings use, in the order of the run."""
        return tuple(dict.fromkeys(setting.contrast for setting in self.all if setting.contrast))

    @property
    def all(self) -> tuple[Setting, ...]:
        """The settings of generation and of benchmarks."""
        return (*self.settings, *self.benchmark_settings)

    @property
    def pairs(self) -> list[tuple[Setting, Setting]]:
        """(contrast, plain) settings of generation that can be compared, in the order of the run."""
        ran = {setting.name for setting in self.settings}
        return [(s, s.plain) for s in self.settings if s.contrast and s.plain.name in ran]

    @property
    def baseline(self) -> str:
        """The setting that all others are compared with: plain greedy search, else the first plain setting."""
        plain = [s.name for s in self.settings if s.contrast is None and s.exit is None]
        return "greedy" if "greedy" in plain else next(iter(plain), self.settings[0].name)

    @property
    def beside_baseline(self) -> list[str]:
        """The contrasts of the baseline's own decoder."""
        return [contrast.name for contrast, plain in self.pairs if plain.name == self.baseline]
