"""Names of cells and where their files lie: the one place that knows both.

A *cell* is one run of a stage, called as DVC calls it (``generate@smollm2-greedy-acd``). Everything that a stage writes
lies under ``runs/<profile>/<stage>/``; what a reader keeps lies under ``reports/<profile>/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from autocontrastive_gen.foundation.errors import InputError

DECODES = ("greedy", "beam", "top-k", "top-p")

_SUFFIX = r"(?:-exit(?P<exit>\d+))?(?P<contrast>-acd(?P<lower>\d+)?)?"
_SETTING = re.compile(rf"(?P<decode>{'|'.join(DECODES)}){_SUFFIX}")
_BENCHMARK = re.compile(r"original|exit(?P<exit>\d+)|(?P<contrast>acd(?P<lower>\d+)?)")
GRAMMAR = "<decode>[-exit<l>][-acd[<l>]] with decode in " + ", ".join(DECODES)
BENCHMARK_GRAMMAR = "original, exit<l>, acd, acd<l>"


@dataclass(frozen=True)
class Setting:
    """What the name of a setting says.

    ``exit`` is the exit that is read (the upper one if ``contrast``); None stands for the model's ``upper`` in params,
    as a rule the original head. ``lower`` is None where the name leaves the layer to the selection rule (plain
    ``-acd``). ``decode`` is None for benchmark settings.
    """

    name: str
    decode: str | None
    exit: int | None
    contrast: bool
    lower: int | None

    @property
    def plain(self) -> Setting:
        """The same setting without contrast: what a contrast setting is compared with."""
        if self.decode is None:
            return parse_benchmark_setting("original")
        return parse_setting(self.decode + (f"-exit{self.exit}" if self.exit is not None else ""))

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that the name itself asks for."""
        return tuple(layer for layer in (self.exit, self.lower) if layer is not None)


def parse_setting(name: str) -> Setting:
    """Read a name of ``run.settings``; ValueError if it is none."""
    return _parse(name, _SETTING, GRAMMAR)


def parse_benchmark_setting(name: str) -> Setting:
    """Read a name of ``run.benchmark_settings``; ValueError if it is none."""
    return _parse(name, _BENCHMARK, BENCHMARK_GRAMMAR)


def _parse(name: str, pattern: re.Pattern, grammar: str) -> Setting:
    match = pattern.fullmatch(name)
    if match is None:
        raise InputError(f"{name!r} is no setting; allowed: {grammar}")
    groups = match.groupdict()
    exit_, lower = (int(groups[key]) if groups[key] else None for key in ("exit", "lower"))
    if exit_ is not None and lower is not None and lower >= exit_:
        raise InputError(f"{name!r}: the lower layer {lower} must lie below the upper exit {exit_}")
    return Setting(name, groups.get("decode"), exit_, bool(groups["contrast"]), lower)


def all_settings(exits: tuple[int, ...]) -> tuple[Setting, ...]:
    """Every setting of ``generate`` and ``benchmark`` that a model with these exits might run."""
    tails = [""] + [f"-exit{layer}" for layer in exits]
    names = [decode + tail for decode in DECODES for tail in tails]
    names += [f"{name}-acd{lower}" for name in names for lower in ("", *exits) if _lies_below(lower, name)]
    benchmark = ["original", "acd", *(f"{kind}{layer}" for layer in exits for kind in ("exit", "acd"))]
    return tuple(map(parse_setting, names)) + tuple(map(parse_benchmark_setting, benchmark))


def _lies_below(lower: int | str, name: str) -> bool:
    upper = name.partition("-exit")[2]
    return not upper or lower == "" or lower < int(upper)
