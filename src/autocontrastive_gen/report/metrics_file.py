"""The flat file of every number of a run, for ``dvc metrics``."""

from __future__ import annotations

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
    for model, contrasts in results.selection.items():
        for contrast, selection in contrasts.items():
            chosen = selection["chosen"] or {"lower": None, "parameters": {}}
            if chosen["lower"] is not None:
                found[f"lower/{model}/{contrast}"] = chosen["lower"]
            for name, value in chosen["parameters"].items():
                if isinstance(value, int | float):
                    found[f"chosen/{model}/{contrast}/{name}"] = value
    return found
