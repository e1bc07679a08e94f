"""What a run comes to, in a few lines for a terminal: the headline numbers, where the page is, what to try next."""

from __future__ import annotations

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.report.cost_summary import speeds
from autocontrastive_gen.report.results import Results

NEXT = (
    ("python -m stages.demo --prompt '...'", "plain and contrasted text for a prompt of your own"),
    ("dvc exp run -S contrasts.acd.alpha=0.2", "the same run with another alpha; only what depends on it runs"),
    ("make ui", "every cell as a run in MLflow"),
)


def headlines(results: Results) -> list[str]:
    """Diversity, coherence and speed of the first contrast beside the same decoder without it, by model.

    Diversity and coherence are those of all prompts together, as on the page; speed is in generated tokens per second.
    """
    lines = []
    pair = next(iter(results.pairs), None)
    for model in results.models if pair else ():
        contrast, plain = (setting.name for setting in pair)
        with_, without = results.pooled(model, contrast), results.pooled(model, plain)
        moves = [
            (text_metrics()[key].title.lower(), without[key].value, with_[key].value)
            for key in ("diversity", "coherence")
            if key in with_ and key in without
        ]
        found = [f"{title} {before:.2f} → {after:.2f}" for title, before, after in moves]
        rates = speeds(results).get(model, {})
        if plain in rates and contrast in rates:
            found.append(f"speed {rates[contrast]['tokens_per_s'] / rates[plain]['tokens_per_s']:.2f} of plain")
        if found:
            lines.append(f"{model}, {plain} → {contrast}: {', '.join(found)}")
    return lines


def closing(results: Results) -> str:
    """The headline numbers of a finished run, the page, and what to try next."""
    page = (results.paths.reports / "index.html").resolve()
    width = max(len(command) for command, _ in NEXT)
    return "\n".join(
        [
            *headlines(results),
            f"The page: open {page.as_uri()} in a browser.",
            "To try next:",
            *(f"  {command:{width}}  {purpose}" for command, purpose in NEXT),
        ]
    )
