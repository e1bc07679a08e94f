"""The metrics of a run: what they are called, measured in and how they are shown; and the flat file of all of them."""

from __future__ import annotations

from dataclasses import dataclass

from autocontrastive_gen.report.results import Results


@dataclass(frozen=True)
class Metric:
    key: str
    title: str
    digits: int
    meaning: str
    """One sentence, for notes and for the page."""
    main: bool = True
    """Shown to the reader; others are in the csv."""


QUALITY = (
    Metric(
        "diversity",
        "Diversity",
        3,
        "product over n = 2, 3, 4 of the share of distinct n-grams, counted in each text and pooled over the corpus",
    ),
    Metric("coherence", "Coherence", 3, "cosine between the sentence embeddings of prompt and continuation"),
    Metric("perplexity", "Perplexity", 1, "perplexity of the continuation under the model's own last layer"),
    Metric("changed", "Changed", 3, "share of tokens at which contrast chose another token than the upper exit"),
    Metric("mauve", "MAUVE", 3, "similarity of the distributions of machine and human texts"),
    Metric("diversity_per_text", "Diversity per text", 3, "the same product in each text, averaged over texts", False),
    Metric("rep_2", "Rep-2", 2, "per cent of 2-grams that repeat an earlier one of their text", False),
    Metric("rep_3", "Rep-3", 2, "per cent of 3-grams that repeat an earlier one of their text", False),
    Metric("rep_4", "Rep-4", 2, "per cent of 4-grams that repeat an earlier one of their text", False),
)


def flat(results: Results) -> dict[str, float]:
    """{key: number} for ``dvc metrics``: quality, benchmarks and exits, and the chosen lower layers."""
    found: dict[str, float] = {}
    for model, settings in results.quality.items():
        for setting, domains in settings.items():
            for domain, metrics in domains.items():
                for metric, entry in metrics.items():
                    found[f"quality/{model}/{setting}/{domain}/{metric}"] = entry.value
    for model, settings in results.benchmarks.items():
        for setting, tasks in settings.items():
            for task, metrics in tasks.items():
                for metric, entry in metrics.items():
                    found[f"benchmark/{model}/{setting}/{task}/{metric}"] = entry["value"]
    for model, domains in results.exits.items():
        for domain, layers in domains.items():
            for layer, entry in layers.items():
                for metric in ("perplexity", "agreement"):
                    found[f"exits/{model}/{layer}/{domain}/{metric}"] = entry[metric]
    for model, selection in results.selection.items():
        if selection.get("lower") is not None:
            found[f"lower/{model}"] = selection["lower"]
    return found
