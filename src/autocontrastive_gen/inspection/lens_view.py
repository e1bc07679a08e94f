"""What a lens has seen: its numbers as tables, and itself as a page, a picture, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autocontrastive_gen.foundation.files import atomic_path, write_text
from autocontrastive_gen.inspection.layer_measures import MEASURES, check_measure

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PlausibleSet:
    """The tokens that a contrast may reorder at one position, most likely ones of the upper exit first."""

    size: int
    """Of the whole set; the tuples hold its most likely tokens."""
    token_ids: tuple[int, ...]
    upper: tuple[float, ...]
    """Probability of each under the upper exit."""
    contrasted: tuple[float, ...]
    """Probability of each after the contrast."""


@dataclass(frozen=True, repr=False)
class Row:
    """A layer or a contrast at every position of the text (T of them)."""

    label: str
    kind: str
    """"exit": a layer read by its exit; "direct": by the model's own head; "last": the last layer; "contrast"."""
    layer: int | None
    numbers: np.ndarray
    """(T, measures) float32, in the order of ``MEASURES``; NaN where there is nothing to measure."""
    top_ids: np.ndarray
    """(T, K) most likely tokens, most likely first."""
    top_probabilities: np.ndarray
    """(T, K) float32; NaN for scores that are no probabilities."""
    sets: tuple[PlausibleSet, ...] | None = None
    """One per position; None for layers and for methods without a plausible set."""

    @classmethod
    def joined(cls, pieces: Sequence[Row]) -> Row:
        """One row from its successive pieces."""
        first = pieces[0]
        sets = None if first.sets is None else tuple(each for piece in pieces for each in piece.sets or ())
        return replace(
            first,
            numbers=np.concatenate([piece.numbers for piece in pieces]),
            top_ids=np.concatenate([piece.top_ids for piece in pieces]),
            top_probabilities=np.concatenate([piece.top_probabilities for piece in pieces]),
            sets=sets,
        )

    def token_ids(self) -> Iterator[int]:
        """Every token that the row names."""
        yield from self.top_ids.flatten().tolist()
        for each in self.sets or ():
            yield from each.token_ids


@dataclass(frozen=True, repr=False)
class Lens:
    """What every layer and contrast would say next at each position of a text (``lens``).

    At a position, a row's prediction follows the tokens up to and including that position's. Divergences, entropies and
    cross-entropies are in nats.

    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> from autocontrastive_gen import lens
    >>> model, tokenizer = AutoModelForCausalLM.from_pretrained("gpt2"), AutoTokenizer.from_pretrained("gpt2")
    >>> seen = lens(model, tokenizer, "humpty dumpty sat on a wall")
    >>> last = seen.numbers[seen.numbers["kind"] == "last"]
    >>> bool((last["kl_to_last"] == 0).all())
    True
    """

    title: str
    depth: int
    """Number of layers of the model."""
    positions: tuple[int, ...]
    """Positions of the shown tokens in the text."""
    token_ids: tuple[int, ...]
    """The shown tokens of the text."""
    words: dict[int, str]
    """Text of every token that is named anywhere."""
    rows: tuple[Row, ...]
    """Layers in ascending order, the last layer, then the contrasts."""

    def __repr__(self) -> str:
        return f"Lens({self.title!r}, {len(self.rows)} rows, {len(self.token_ids)} tokens)"

    @property
    def tokens(self) -> list[str]:
        """The shown tokens of the text."""
        return [self.words[token] for token in self.token_ids]

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """One row per layer or contrast and position: tokens, first choice, and every measure.

        The token that came next is missing at the last position. Needs pandas.
        """
        import pandas as pd

        tables = []
        for row in self.rows:
            table = pd.DataFrame(
                {
                    "row": row.label,
                    "kind": row.kind,
                    "layer": row.layer,
                    "position": self.positions,
                    "token": self.tokens,
                    "next_token": [*self.tokens[1:], None],
                }
            )
            table["first_choice"] = [self.words[int(token)] for token in row.top_ids[:, 0]]
            tables.append(table.assign(**{m.key: row.numbers[:, i] for i, m in enumerate(MEASURES)}))
        found = pd.concat([table.astype({"layer": "Int64", "rank": "Int64"}) for table in tables], ignore_index=True)
        return found[["row", "kind", "layer", "position", "token", "next_token", *_ORDER]]

    @cached_property
    def most_likely(self) -> pd.DataFrame:
        """One row per layer or contrast, position and place among the most likely tokens. Needs pandas."""
        rows = (
            (row.label, position, place, self.words[token], probability)
            for row in self.rows
            for position, ids, shares in zip(
                self.positions, row.top_ids.tolist(), row.top_probabilities.tolist(), strict=True
            )
            for place, (token, probability) in enumerate(zip(ids, shares, strict=True), 1)
        )
        return _table(("row", "position", "place", "token", "probability"), rows)

    @cached_property
    def plausible(self) -> pd.DataFrame:
        """One row per contrast, position and token of its plausible set (the most likely ones). Needs pandas."""
        rows = (
            (row.label, position, found.size, self.words[token], upper, contrasted)
            for row in self.rows
            for position, found in zip(self.positions, row.sets or (), strict=False)
            for token, upper, contrasted in zip(found.token_ids, found.upper, found.contrasted, strict=True)
        )
        return _table(("row", "position", "size", "token", "upper", "contrasted"), rows)

    def html(self) -> str:
        """A self-contained page that needs no network. Needs jinja2."""
        from autocontrastive_gen.inspection.lens_page import page

        return page(self)

    def to_html(self, path: str | Path) -> None:
        """Write ``html`` to a file."""
        write_text(path, self.html())

    def to_csv(self, path: str | Path) -> None:
        """Write ``numbers`` to a file. Needs pandas."""
        write_text(path, self.numbers.to_csv(index=False, float_format="%.6g", lineterminator="\n"))

    def to_png(self, path: str | Path, measure: str = "probability", dpi: int = 150) -> None:
        """Draw every first choice, coloured by a measure, and write it to a file. Needs matplotlib.

        Args:
            measure: a key of ``MEASURES``.
            dpi: pixels per inch.

        Raises:
            InputError: there is no such measure.
        """
        check_measure(measure)
        from autocontrastive_gen.inspection.lens_drawing import drawn

        with atomic_path(path) as temporary:
            temporary.write_bytes(drawn(self, measure, dpi))

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and script touch nothing else in a notebook."""
        from autocontrastive_gen.inspection.lens_page import framed

        return framed(self)


_ORDER = ("first_choice", *(measure.key for measure in MEASURES))


def _table(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
