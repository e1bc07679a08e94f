"""The page: one self-contained file that needs no network."""

from __future__ import annotations

import json
import platform
import re
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autocontrastive_gen.foundation.digests import file_sha256
from autocontrastive_gen.foundation.files import write_text
from autocontrastive_gen.report.claims import CONTRADICTED, NO_VERDICT, NOT_SHOWN, SUPPORTED, Check
from autocontrastive_gen.report.cost_summary import duration, size
from autocontrastive_gen.report.drawing import FAINT, INK, Figure
from autocontrastive_gen.report.origin import Origins, last_commit
from autocontrastive_gen.report.paper import NOT_RUN, Deviation, Paper
from autocontrastive_gen.report.results import HUMAN, Results
from autocontrastive_gen.report.samples import collect, showable
from autocontrastive_gen.report.table import Number, Table, display

SECTIONS = (
    ("summary", "Summary"),
    ("claims", "Claims"),
    ("quality", "Quality"),
    ("texts", "Texts"),
    ("exits", "Exits"),
    ("benchmarks", "Benchmarks"),
    ("published", "Published"),
    ("cost", "Cost"),
    ("deviations", "Deviations"),
    ("provenance", "Provenance"),
)
LIBRARIES = ("torch", "transformers", "datasets", "lm-eval", "sentence-transformers", "dvc", "mlflow", "numpy", "scipy")


def write_page(
    results: Results,
    tables: dict[str, Table],
    figures: list[Figure],
    checks: list[Check],
    cost: dict[str, Any],
    *,
    paper: Paper | None,
    deviations: list[Deviation],
) -> None:
    """Render ``index.html``."""
    origins = Origins()
    samples = collect(results)
    shown = showable(results)
    loader = PackageLoader("autocontrastive_gen.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals |= {
        "origin": lambda number: origins.index(number.file, number.cell) if number.cell else "",
        "display": display,
        "columns": lambda table: [c for c in table.shown if c.key != "model" or len(results.models) > 1],
        "sort_key": _sort_key,
        "inline": _inline,
        "duration": duration,
        "size": size,
    }
    template = environment.get_template("index.html.j2")
    content = {
        "title": results.plan["title"],
        "profile": results.paths.profile,
        "banner": results.plan["banner"],
        "edited": results.plan["edited"],
        "commit": last_commit(),
        "sections": SECTIONS,
        "summary": _summary(results, tables, checks),
        "tables": tables,
        "figures": _by_kind(figures, results.models),
        "samples": samples,
        "choices": _choices(samples),
        "shown_domains": [(results.domains[name]["title"], licence) for name, licence in shown.items()],
        "hidden_domains": [entry["title"] for name, entry in results.domains.items() if name not in shown],
        "paper": paper,
        "cost": cost,
        "assets": sorted(results.assets.items()),
        "environment": _environment(results),
        "deviations": [*_own_deviations(results), *deviations],
        "missing": results.missing,
        "strangers": results.strangers,
        "css": Markup(_part("style.css")),
        "js": Markup(_part("page.js")),
    }
    # rendering a number registers its origin, so the list of origins is complete only the second time
    for _ in range(2):
        page = template.render(content, origins=origins.all, origins_json=_json([o.as_dict() for o in origins.all]))
    write_text(results.paths.reports / "index.html", page)


def _by_kind(figures: list[Figure], models: Iterable[str]) -> dict[str, list[Figure]]:
    """Figures by their name without the model; a kind that was not drawn has none."""
    found: dict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        model = next((model for model in models if figure.name.endswith(f"-{model}")), "")
        found[figure.name.removesuffix(f"-{model}")].append(figure)
    return found


def _part(name: str) -> str:
    return (files("autocontrastive_gen.report") / "page" / name).read_text(encoding="utf-8")


def _json(value: Any) -> Markup:
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))


def _sort_key(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, Number):
        return f"{entry.value:.9g}".replace("inf", "Infinity")  # as JavaScript reads it
    return str(entry)


def _inline(figure: Figure) -> Markup:
    """The svg without its file header, in the page's colours, with ids that are unique on the page."""
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = svg.replace(INK, "var(--ink)").replace(FAINT, "var(--grid)")
    for link in ('id="', 'href="#', "url(#"):
        svg = svg.replace(link, f"{link}{figure.name}-")
    points = float(re.search(r'width="([\d.]+)pt"', svg).group(1))
    style = f'<svg aria-hidden="true" focusable="false" style="width: {points / 10:.1f}rem" '
    return Markup(svg.replace("<svg ", style, 1))


def _summary(results: Results, tables: dict[str, Table], checks: list[Check]) -> dict[str, Any]:
    """What a busy reader takes away: a sentence per model, a sentence on the claims, and the claims as cards."""
    verdicts = (SUPPORTED, NOT_SHOWN, CONTRADICTED, NO_VERDICT, NOT_RUN)
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in verdicts}
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    lines = [line for model in results.models if (line := _sentence(results, model))]
    lines.append(
        f"Of {len(checks)} claims of the paper tested on this run's models: {counted or 'none could be tested'}."
    )
    effects = [row.get("effect") for row in tables["claims"].rows]
    cards = [
        {
            "statement": check.claim.statement,
            "model": check.model,
            "metric": check.claim.declaration.title.lower(),
            "verdict": check.verdict,
            "reason": check.reason,
            "number": number,
        }
        for check, number in zip(checks, effects, strict=True)
    ]
    return {"lines": lines, "checks": cards, "many": len(results.models) > 1}


def _sentence(results: Results, model: str) -> str:
    """Greedy text without and with contrast, as means over domains; empty if one of them was not run."""
    pair = next(((c.name, p.name) for c, p in results.pairs if p.name == "greedy" and c.lower is None), None)
    if pair is None:
        return ""
    found = {name: _over_domains(results, model, name) for name in (*pair, HUMAN)}
    if not found[pair[0]] or not found[pair[1]]:
        return ""
    with_, without = found[pair[0]], found[pair[1]]
    moves = {metric: f"from {without[metric]:.2f} to {with_[metric]:.2f}" for metric in without}
    human = f" (human text: {found[HUMAN]['diversity']:.2f})" if found[HUMAN] else ""
    return (
        f"{model}: with contrast, the diversity of greedy text goes {moves['diversity']}{human} and its coherence "
        f"{moves['coherence']}."
    )


def _over_domains(results: Results, model: str, setting: str) -> dict[str, float]:
    domains = list(results.quality[model].get(setting, {}).values())
    metrics = ("diversity", "coherence")
    if not domains or any(metric not in entry for entry in domains for metric in metrics):
        return {}
    return {metric: sum(entry[metric].value for entry in domains) / len(domains) for metric in metrics}


def _choices(samples) -> list[tuple[str, str, list[str]]]:
    """(key, label, options) of the menus above the samples."""
    keys = (("model", "Model", "model"), ("domain", "Domain", "domain"), ("setting", "Contrast", "contrast"))
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
