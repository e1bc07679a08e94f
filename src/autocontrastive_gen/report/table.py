"""One table, written as csv with unrounded numbers, and as Markdown and LaTeX for readers."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autocontrastive_gen.foundation.files import UnixRows, rounded, write_text
from autocontrastive_gen.foundation.statistics import Interval

EMPTY = "–"
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    "…": r"\ldots{}",
    "∞": r"$\infty$",
}


@dataclass(frozen=True)
class Number:
    """A number with its interval, how it is shown, and its origin.

    ``file`` holds it or what it was computed from; ``cell`` is the DVC stage that wrote the file.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    digits: int = 3
    signed: bool = False
    file: str = ""
    cell: str = ""

    @classmethod
    def of(cls, interval: Interval, **rest) -> Number:
        return cls(interval.value, interval.low, interval.high, interval.n, **rest)

    @property
    def text(self) -> str:
        """``0.412``, or ``0.412 [0.371, 0.455]`` with an interval."""
        return f"{self.main} {self.range}".rstrip()

    @property
    def main(self) -> str:
        return self._show(self.value)

    @property
    def range(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"[{self._show(self.low)}, {self._show(self.high)}]"

    def _show(self, value: float) -> str:
        if math.isinf(value):
            return "−∞" if value < 0 else "+∞" if self.signed else "∞"
        if abs(value) >= 1e4:
            return f"{value:.1e}"
        text = f"{value:{'+' if self.signed else ''}.{self.digits}f}"
        return text.replace("-", "−")


Entry = Number | str | int | bool | None


@dataclass(frozen=True)
class Column:
    key: str
    title: str
    numeric: bool = False
    interval: bool = False
    """The csv gets ``<key>_low`` and ``<key>_high`` beside it."""
    shown: bool = True
    """False: in the csv only."""
    head: bool = False
    """It names the row: on the page it stays in view while the table scrolls."""


@dataclass(frozen=True)
class Table:
    """``rows`` map a column's key to its entry; absent entries are empty."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Entry]]
    note: str = ""
    groups: Sequence[str] = field(default=())
    """Keys of the leading columns: a rule is drawn where they change."""
    csv_only: bool = False
    """Too long to read: for ``dvc plots`` and other programs."""

    @property
    def shown(self) -> list[Column]:
        """Columns for the reader: those that are meant for one and not empty."""
        return [c for c in self.columns if c.shown and any(row.get(c.key) is not None for row in self.rows)]

    def csv(self) -> str:
        names = [name for column in self.columns for name in _csv_names(column)]
        out = io.StringIO()
        writer = csv.DictWriter(UnixRows(out), names, lineterminator="\r\n")
        writer.writeheader()
        for row in self.rows:
            cells: dict[str, Entry] = {}
            for column in self.columns:
                entry = row.get(column.key)
                if isinstance(entry, Number):
                    cells |= dict(zip(_csv_names(column), rounded([entry.value, entry.low, entry.high]), strict=False))
                else:
                    cells[column.key] = entry
            writer.writerow({key: "" if value is None else value for key, value in cells.items()})
        return out.getvalue()

    def markdown(self) -> str:
        shown = self.shown
        lines = [f"### {self.title}", "", _md_row(column.title for column in shown)]
        lines.append("|" + "|".join("--:" if column.numeric else ":--" for column in shown) + "|")
        lines += [_md_row(display(row.get(column.key)) for column in shown) for row in self.rows]
        if not self.rows:
            lines[2:] = ["None of this was run."]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])

    def latex(self) -> str:
        """A ``table`` environment that needs booktabs and graphicx (it shrinks to the width of the text)."""
        shown = self.shown
        spec = "".join("r" if column.numeric else _tex_text(self.rows, column) for column in shown) or "l"
        lines = [r"\begin{table}[t]", r"\centering", r"\footnotesize"]
        lines += [rf"\caption{{{_tex(self.title)}. {_tex(self.note)}}}", rf"\label{{tab:{self.name}}}"]
        lines += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{spec}}}"]
        lines += [r"\toprule", _tex_row(_tex(column.title) for column in shown) if shown else r"\\", r"\midrule"]
        previous = None
        for row in self.rows:
            group = [row.get(key) for key in self.groups]
            lines += [r"\addlinespace"] if previous not in (None, group) else []
            previous = group
            lines.append(_tex_row(_tex(display(row.get(column.key))) for column in shown))
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        write_text(folder / f"{self.name}.csv", self.csv())
        if not self.csv_only:
            write_text(folder / f"{self.name}.md", self.markdown())
            write_text(folder / f"{self.name}.tex", self.latex())


def display(entry: Entry) -> str:
    """An entry as the reader sees it."""
    if entry is None:
        return EMPTY
    if isinstance(entry, bool):
        return "yes" if entry else "no"
    return entry.text if isinstance(entry, Number) else str(entry)


def _csv_names(column: Column) -> list[str]:
    return [column.key, f"{column.key}_low", f"{column.key}_high"] if column.interval else [column.key]


_MD = re.compile(r"[\\|`*<~]|(?<![^\W_])_|_(?![^\W_])|(?<=\])(?=[(\[])|&(?=#?\w+;)")
"""What Markdown would read as markup: a cell means its own text. Underscores inside a word are harmless."""


def _md_row(cells) -> str:
    return "| " + " | ".join(_MD.sub(r"\\\g<0>", _one_line(str(cell))) for cell in cells) + " |"


def _one_line(text: str) -> str:
    """The text with one space for any run of spaces and line ends, and a mark for characters that no file can show."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in " ".join(text.split()))


def _tex_text(rows: Sequence[dict[str, Entry]], column: Column) -> str:
    """Type of a column of text: with line breaks if an entry is long."""
    return r"p{40mm}" if any(len(display(row.get(column.key))) > 40 for row in rows) else "l"


_LIGATURES = re.compile("(?<=[-–'`,<>?!])(?=[-–'`,<>])")
"""Between such characters TeX would draw one that is neither."""


def _tex(text: str) -> str:
    parts = _LIGATURES.split(_one_line(text))
    return "{}".join("".join(_TEX.get(character, character) for character in part) for part in parts)


def _tex_row(cells) -> str:
    row = " & ".join(cells)
    # after the end of a row, TeX takes a bracket or a star for an argument of that end
    return ("{}" if row.startswith(("[", "*")) else "") + row + r" \\"
