"""Every metric of the project, declared once: scoring, intervals, tables, figures, claims and comparisons read it here.

To add a metric of generated texts, put one module into this package with a ``METRICS`` tuple that holds a
:class:`TextMetric`; nothing else has to change. The metrics that lm-eval computes are in ``lm_eval_metrics.py``, those
of the exits in ``exit_quality.py``.
"""

from autocontrastive_gen.evaluation.metrics.catalogue import exit_metrics, item_metric, scored_metrics, text_metrics
from autocontrastive_gen.evaluation.metrics.declaration import (
    HUMAN,
    Context,
    ExitMetric,
    ItemMetric,
    Metric,
    TextMetric,
    Texts,
)

__all__ = [
    "HUMAN",
    "Context",
    "ExitMetric",
    "ItemMetric",
    "Metric",
    "TextMetric",
    "Texts",
    "exit_metrics",
    "item_metric",
    "scored_metrics",
    "text_metrics",
]
