"""One prompt continued twice by greedy search, without and with contrast, and where the two differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS

PLAIN = {"use_original_head": True}


@dataclass(frozen=True)
class SideBySide:
    """Two continuations of one prompt, as the texts of their tokens."""

    plain: list[str]
    contrasted: list[str]
    changed: frozenset[int]
    """Positions of ``contrasted`` at which the upper exit would have chosen another token."""

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """The contrasted text in the longest parts whose tokens are all changed, or all unchanged: (text, changed)."""
        runs = groupby(enumerate(self.contrasted), lambda numbered: numbered[0] in self.changed)
        return [("".join(piece for _, piece in run), changed) for changed, run in runs]


def side_by_side(model, tokenizer, prompt: str, contrast: dict[str, Any], new_tokens: int = 80) -> SideBySide:
    """Continue a prompt without contrast and with it.

    Args:
        model: a multi-exit model.
        contrast: arguments of ``model.set_exits`` for a contrast.
        new_tokens: length of both continuations in tokens.

    Raises:
        InputError: as ``generate_texts`` and ``set_exits``.
    """
    found = []
    for fields in (PLAIN, contrast):
        with model.set_exits(**fields):
            rows = generate_texts(
                model, tokenizer, [{"id": "", "prompt": prompt}], DECODERS.build("greedy", {}), new_tokens, 0, 1
            )
            found += annotate(model, tokenizer, rows, 1)
    plain, contrasted = found
    changed = frozenset(note["position"] for note in contrasted["changed"])
    return SideBySide(plain["pieces"], contrasted["pieces"], changed)
