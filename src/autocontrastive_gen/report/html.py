"""The page: one self-contained file that needs no network."""

from __future__ import annotations

import json
import platform
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autocontrastive_gen.evaluation.metrics import HUMAN, text_metrics
from autocontrastive_gen.foundation.digests import file_sha256
from autocontrastive_gen.foundation.files import write_text
from autocontrastive_gen.report.claims import CONTRADICTED, NO_VERDICT, NOT_SHOWN, SUPPORTED
from autocontrastive_gen.report.cost_summary import duration, size
from autocontrastive_gen.report.drawing import FAINT, INK, Figure
from autocontrastive_gen.report.findings import Findings
from autocontrastive_gen.report.opening import Opening
from autocontrastive_gen.report.origin import Origin, Origins, last_commit
from autocontrastive_gen.report.overview_tables import with_speed
from autocontrastive_gen.report.paper import NOT_RUN, OUTSIDE, REPRODUCED, Deviation, Paper
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.samples import collect, showable
from autocontrastive_gen.report.table import Number, Table, display
from autocontrastive_gen.report.trade_offs import NEITHER

SECTIONS = (
    ("summary", "Summary"),
    ("claims", "Claims"),
    ("settings", "Settings"),
    ("quality", "By domain"),
    ("texts", "Texts"),
    ("exits", "Exits"),
    ("benchmarks", "Benchmarks"),
    ("why", "Why"),
    ("published", "Published"),
    ("cost", "Cost"),
    ("deviations", "Deviations"),
    ("provenance", "Provenance"),
)
WHY = {"gain-sources", "multiple-choice"}
"""Tables of the section that only some runs have."""
LIBRARIES = ("torch", "transformers", "datasets", "lm-eval", "sentence-transformers", "dvc", "mlflow", "numpy", "scipy")


def write_page(
    results: Results,
    tables: dict[str, Table],
    figures: list[Figure],
    findings: Findings,
    cost: dict[str, Any],
    *,
    papers: list[Paper],
    deviations: list[Deviation],
    lens: bool,
) -> None:
    """Render ``index.html``, with a link to ``lens.html`` if there is a ``lens``."""
    origins = Origins()
    samples = collect(results)
    shown = showable(results)
    environment = page_environment(origins, many_models=len(results.models) > 1)
    template = environment.get_template("index.html.j2")
    placed = _Placed(tables | {"overview": with_speed(tables["overview"], results, cost["speeds"])})
    content = {
        "title": results.plan["title"],
        "profile": results.paths.profile,
        "banner": results.plan["banner"],
        "edited": results.plan["edited"],
        "commit": last_commit(),
        "sections": [each for each in SECTIONS if each[0] != "why" or WHY & tables.keys()],
        "opening": Opening.of(results, tables, samples, cost["speeds"]),
        "many": len(results.models) > 1,
        "summary": _summary(results, tables, findings),
        "tables": placed,
        "figures": _by_kind(figures, results.models),
        "samples": samples,
        "lens": lens,
        "choices": _choices(samples),
        "shown_domains": [(results.domains[name]["title"], licence) for name, licence in shown.items()],
        "hidden_domains": [entry["title"] for name, entry in results.domains.items() if name not in shown],
        "missing_values": [paper.source for paper in papers if paper.source.missing],
        "cost": cost,
        "assets": sorted(results.assets.items()),
        "environment": _environment(results),
        "deviations": [*_own_deviations(results), *deviations],
        "missing": results.missing,
        "strangers": results.strangers,
        "css": Markup(_part("style.css")),
        "js": Markup(_part("page.js")),
    }
    # rendering a number registers its origin, and looking a table up places it: both are known the second time
    for _ in range(2):
        lists = {"origin_groups": _by_commit(origins.all), "origins_json": _json([o.as_dict() for o in origins.all])}
        page = template.render(content, further=placed.further(), **lists)
    write_text(results.paths.reports / "index.html", page)


def page_environment(origins: Origins, many_models: bool) -> Environment:
    """What renders the templates of the page: all text is escaped, and numbers register their origin in ``origins``."""
    loader = PackageLoader("autocontrastive_gen.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals |= {
        "origin": lambda number: origins.index(number.file, number.cell) if number.cell else "",
        "display": display,
        "columns": lambda table: [c for c in table.shown if c.key != "model" or many_models],
        "sort_key": _sort_key,
        "verdict_class": _verdict_class,
        "inline": _inline,
        "duration": duration,
        "size": size,
    }
    return environment


class _Placed(dict[str, Table]):
    """Tables by name; remembers which of them the template has a place for."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        super().__init__(tables)
        self._names: set[str] = set()

    def __getitem__(self, name: str) -> Table:
        self._names.add(name)
        return super().__getitem__(name)

    def further(self) -> list[Table]:
        """Tables that the template has not looked up: they follow the benchmarks."""
        return [table for name, table in self.items() if name not in self._names and not table.csv_only]


def _by_kind(figures: list[Figure], models: Iterable[str]) -> dict[str, list[Figure]]:
    """Figures by their name without the model; a kind that was not drawn has none."""
    found: dict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        model = next((model for model in models if figure.name.endswith(f"-{model}")), "")
        found[figure.name.removesuffix(f"-{model}")].append(figure)
    return found


def _by_commit(origins: Iterable[Origin]) -> list[tuple[str, list[Origin]]]:
    """Origins by the last commit to their inputs, each group and the groups in order of appearance."""
    found: dict[str, list[Origin]] = defaultdict(list)
    for origin in origins:
        found[origin.commit].append(origin)
    return list(found.items())


def _part(name: str) -> str:
    return (files("autocontrastive_gen.report") / "page" / name).read_text(encoding="utf-8")


def _json(value: Any) -> Markup:
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))


def _verdict_class(verdict: str) -> str:
    """Class of style.css: good, bad, open or nothing known."""
    good, bad = (SUPPORTED, REPRODUCED), (CONTRADICTED, OUTSIDE)
    if verdict in good or verdict.startswith("more "):
        return "good"
    if verdict in bad or verdict.startswith("less "):
        return "bad"
    return "open" if verdict in (NOT_SHOWN, NEITHER) else "unknown"


def _sort_key(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, Number):
        return f"{entry.value:.9g}".replace("inf", "Infinity")  # as JavaScript reads it
    return str(entry)


def _inline(figure: Figure, phone: bool = False) -> Markup:
    """The svg without its file header, in the page's colours, with ids that are unique on the page."""
    svg = figure.narrow if phone else figure.svg
    svg = svg[svg.index("<svg") :]
    svg = svg.replace(INK, "var(--ink)").replace(FAINT, "var(--grid)")
    for link in ('id="', 'href="#', "url(#"):
        svg = svg.replace(link, f"{link}{figure.name}-{'phone-' if phone else ''}")
    points = float(re.search(r'width="([\d.]+)pt"', svg).group(1))
    style = f'<svg aria-hidden="true" focusable="false" style="width: {"100%" if phone else f"{points / 10:.1f}rem"}" '
    return Markup(svg.replace("<svg ", style, 1))


def _summary(results: Results, tables: dict[str, Table], findings: Findings) -> dict[str, Any]:
    """What a busy reader takes away: a sentence per model, a sentence on each family of tests, and cards."""
    lines = [line for model in results.models if (line := _sentence(results, model))]
    verdicts = _counted([check.verdict for check in findings.checks], (SUPPORTED, NOT_SHOWN, CONTRADICTED, NO_VERDICT))
    lines.append(f"Of {len(findings.checks)} claims of the paper tested on this run's models: {verdicts}.")
    claims = [
        {
            "statement": check.claim.statement,
            "model": check.model,
            "verdict": check.verdict,
            "scope": check.scope,
            "reason": check.reason,
            "numbers": [(row["effect"], check.claim.declaration.title.lower())] if row.get("effect") else [],
        }
        for check, row in zip(findings.checks, tables["claims"].rows, strict=True)
    ]
    return {"lines": lines, "claims": claims, "trade_offs": _trade_offs(tables, findings)}


def _trade_offs(tables: dict[str, Table], findings: Findings) -> list[dict[str, Any]]:
    asked = findings.rules.trade_offs
    titles = {key: text_metrics()[getattr(asked, key)].title.lower() for key in ("gain", "keep")} if asked else {}
    return [
        {
            "statement": f"{entry.setting} against {entry.rival}",
            "model": entry.model,
            "verdict": entry.verdict,
            "scope": "",
            "reason": entry.reason,
            "numbers": [(row[key], title) for key, title in titles.items() if row.get(key)],
        }
        for entry, row in zip(findings.trade_offs, tables["trade-offs"].rows, strict=True)
    ]


def _counted(verdicts: list[str], order: tuple[str, ...]) -> str:
    """``3 supported, 1 not shown``."""
    counts = {verdict: verdicts.count(verdict) for verdict in (*order, NOT_RUN)}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "none"


def _sentence(results: Results, model: str) -> str:
    """Greedy text without and with contrast, over all prompts together: what the claims compare."""
    pair = next(((c.name, p.name) for c, p in results.pairs if p.name == "greedy" and c.lower is None), None)
    if pair is None:
        return ""
    with_, without, human = (results.pooled(model, name) for name in (*pair, HUMAN))
    if not {"diversity", "coherence"} <= with_.keys() & without.keys():
        return ""
    moves = {key: f"from {without[key].value:.2f} to {with_[key].value:.2f}" for key in ("diversity", "coherence")}
    people = f" (human text: {human['diversity'].value:.2f})" if "diversity" in human else ""
    return (
        f"{model}, all prompts together: with contrast, the diversity of greedy text goes {moves['diversity']}{people} "
        f"and its coherence {moves['coherence']}."
    )


def _choices(samples) -> list[tuple[str, str, list[str]]]:
    """(key, label, options) of the menus above the samples."""
    keys = (("model", "Model", "model"), ("domain", "Domain", "domain"), ("setting", "Contrasts", "contrast"))
    return [(key, label, list(dict.fromkeys(getattr(s, attribute) for s in samples))) for key, label, attribute in keys]


def _environment(results: Results) -> list[tuple[str, str]]:
    rows = [("Seed", str(results.plan["seed"])), ("Python", platform.python_version())]
    rows.append(("System", f"{platform.system()} {platform.machine()}"))
    for name in LIBRARIES:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    lock = Path("requirements.lock")
    return rows + ([("requirements.lock", f"sha256 {file_sha256(lock)[:12]}")] if lock.exists() else [])


def _own_deviations(results: Results) -> list[Deviation]:
    """How this profile departs from the paper, from its own parameters."""
    models = "; ".join(f"{name} ({entry['note']})" if entry["note"] else name for name, entry in results.models.items())
    domains = ", ".join(entry["title"] for entry in results.domains.values())
    tokens = results.plan["generate"]["new_tokens"]
    effect = "the numbers are this run's own: only their directions can be compared with the paper's, see Published"
    paragraphs = [entry["title"] for entry in results.domains.values() if entry["prompt_at"] == "paragraph"]
    drawn = Deviation(
        what=f"Prompts of {', '.join(paragraphs)} begin at a paragraph drawn from a document, not at its beginning",
        effect="levels move a little; every setting continues the same prompts, so differences hold",
    )
    return [
        Deviation(what=f"Models: {models}. Domains: {domains}. Continuations of {tokens} tokens.", effect=effect),
        *([drawn] if paragraphs else []),
        Deviation(
            what=f"Coherence is measured with the encoder “{results.plan['coherence_asset']}”",
            effect="cosines of different encoders are not comparable; differences between settings are",
        ),
    ]
