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
    """Print the comparison; metrics that are the same in both only if ``every``."""
    console.print(f"A = {difference.a}\nB = {difference.b}", highlight=False)
    for title, head, rows in _sections(difference):
        _print(console, title, head, rows)
    if difference.code_stat:
        console.print(difference.code_stat, highlight=False, markup=False)
    rows = [row for row in difference.metrics if every or row.changed]
    _print(console, "Metrics", _COLUMNS, map(_cells, rows))
    same = len(difference.metrics) - len(rows)
    if same:
        console.print(f"{same} metrics are the same in both (--all shows them)", highlight=False)


def page(difference: Difference) -> str:
    """The comparison with every metric, as html that needs no network."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    sections = [(title, head, list(rows)) for title, head, rows in _sections(difference)]
    changed, same = ([_cells(row) for row in difference.metrics if row.changed is kind] for kind in (True, False))
    return environment.from_string(_PAGE).render(
        difference=difference, sections=sections, columns=_COLUMNS, changed=changed, same=same
    )


def _sections(difference: Difference) -> Iterator[tuple[str, tuple[str, ...], Iterator[tuple[str, ...]]]]:
    yield "Parameters", ("key", "A", "B"), map(_form, difference.params)
    yield "Code", ("file or folder", "md5 in A", "md5 in B"), map(_form, difference.code)
    yield "Data", ("what", "A", "B"), map(_form, difference.data)
    yield "Cells that ran differently", ("cell", "because of"), iter(difference.cells.items())


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


_PAGE = """{% macro table(rows) %}
<div tabindex="0"><table class="metrics">
<thead><tr>{% for name in columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ difference.a }} and {{ difference.b }} compared</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #8886; vertical-align: top; }
.metrics td:nth-child(n+5), .metrics th:nth-child(n+5) { text-align: right; white-space: nowrap; }
pre { overflow-x: auto; }
@media (max-width: 40rem) {
  h1 { font-size: 1.5rem; }
  table { font-size: .75rem; }
  th, td { padding: .2rem .25rem; }
  table:not(.metrics) td { overflow-wrap: anywhere; }
}
</style>
<main>
<h1>Two runs compared</h1>
<p>A is <b>{{ difference.a }}</b>, B is <b>{{ difference.b }}</b>.</p>
{% for title, head, rows in sections %}
<h2>{{ title }}</h2>
{% if rows %}
<div tabindex="0"><table>
<thead><tr>{% for name in head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p>No difference.</p>
{% endif %}
{% if title == "Code" and difference.code_stat %}
<pre tabindex="0">{{ difference.code_stat }}</pre>
{% endif %}
{% endfor %}
<h2>Metrics</h2>
<p>Intervals are paired: both states on the same documents or items, which are what is resampled. A metric without
an interval is kept for the whole corpus only.</p>
{% if changed %}
{{ table(changed) }}
{% else %}
<p>No difference.</p>
{% endif %}
{% if same %}
<details>
<summary>{{ same|length }} metrics are the same in both</summary>
{{ table(same) }}
</details>
{% endif %}
</main>
</html>
"""
