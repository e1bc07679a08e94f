"""A comparison as terminal tables and as one self-contained html page."""

from __future__ import annotations

import math
from collections.abc import Iterator

import jinja2
from rich.console import Console
from rich.table import Table

from autocontrastive_gen.review.compare import Change, Difference, Row

_COLUMNS = ("model", "setting", "domain or task", "metric", "A", "B", "B − A", "interval", "n", "p", "B is")


def show(difference: Difference, console: Console, every: bool = False) -> None:
    """Print the comparison; metrics that are equal in both are left out unless ``every``."""
    console.print(f"A = {difference.a}\nB = {difference.b}", highlight=False)
    for title, head, rows in _sections(difference):
        _print(console, title, head, rows)
    if difference.code_stat:
        console.print(difference.code_stat, highlight=False, markup=False)
    rows = [row for row in difference.metrics if every or row.changed]
    _print(console, "Metrics", _COLUMNS, map(_cells, rows))
    same = len(difference.metrics) - len(rows)
    if same:
        console.print(f"{same} metrics are equal in both (--all shows them)", highlight=False)


def page(difference: Difference) -> str:
    """The comparison with every metric, as one html file that needs no network."""
    loader = jinja2.PackageLoader("autocontrastive_gen.review", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    sections = [(title, head, list(rows)) for title, head, rows in _sections(difference)]
    changed, same = ([_cells(row) for row in difference.metrics if row.changed is kind] for kind in (True, False))
    return environment.get_template("comparison.html.j2").render(
        difference=difference, sections=sections, columns=_COLUMNS, changed=changed, same=same
    )


def _sections(difference: Difference) -> Iterator[tuple[str, tuple[str, ...], Iterator[tuple[str, ...]]]]:
    yield "Parameters", ("key", "A", "B"), map(_form, difference.params)
    yield "Code", ("file or folder", "md5 in A", "md5 in B"), map(_form, difference.code)
    yield "Data", ("what", "A", "B"), map(_form, difference.data)
    yield "Cells that ran differently", ("cell", "reason"), iter(difference.cells.items())


def _form(change: Change) -> tuple[str, ...]:
    return change.what, *("–" if value is None else value for value in (change.a, change.b))


def _cells(row: Row) -> tuple[str, ...]:
    paired = row.paired
    names = (row.model, row.setting, row.part, row.metric, _number(row.a), _number(row.b))
    if paired is None:
        gap = None if row.a is None or row.b is None else row.b - row.a
        return (*names, _number(gap, sign=True), "", "", "", "")
    found = paired.difference
    interval = f"[{_number(found.low, sign=True)}, {_number(found.high, sign=True)}]"
    return (*names, _number(found.value, sign=True), interval, str(found.n), f"{paired.p_value:.3f}", row.verdict)


def _number(value: float | None, sign: bool = False) -> str:
    if value is None or math.isnan(value):  # infinite in both: no difference can be stated
        return "–"
    return format(value, "+.4g" if sign else ".4g").replace("inf", "∞")


def _print(console: Console, title: str, head: tuple[str, ...], rows) -> None:
    rows = list(rows)
    if not rows:
        console.print(f"{title}: no difference", highlight=False)
        return
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for i, name in enumerate(head):
        numeric = head is _COLUMNS and i >= _COLUMNS.index("A")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
