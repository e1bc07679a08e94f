"""The flat file of every number of a run, for ``dvc metrics``."""

from __future__ import annotations

from collections.abc import Mapping

from autocontrastive_gen.evaluation.metrics import exit_metrics
from autocontrastive_gen.report.results import Results


def flat(results: Results) -> dict[str, float]:
    """{key: number} for ``dvc metrics``: quality, benchmarks and exits, and the lower layers and parameters chosen."""
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
                for metric in exit_metrics().values():
                    if metric.headline:
                        found[f"exits/{model}/{layer}/{domain}/{metric.key}"] = entry[metric.key]
    return found | _chosen(results.selection) | _chosen(results.benchmark_selection, "benchmark-")


def _chosen(selections: Mapping[str, Mapping[str, dict]], prefix: str = "") -> dict[str, float]:
    """{"lower/<model>/<contrast>", "chosen/<model>/<contrast>/<parameter>"}, after the prefix."""
    found: dict[str, float] = {}
    for model, contrasts in selections.items():
        for contrast, selection in contrasts.items():
            chosen = selection["chosen"] or {"lower": None, "parameters": {}}
            if chosen["lower"] is not None:
                found[f"{prefix}lower/{model}/{contrast}"] = chosen["lower"]
            for name, value in chosen["parameters"].items():
                if isinstance(value, int | float):
                    found[f"{prefix}chosen/{model}/{contrast}/{name}"] = value
    return found
