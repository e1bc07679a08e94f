"""The declarations of metrics are complete, and found by their files."""

import numpy as np
import pytest

from autocontrastive_gen.evaluation import metrics
from autocontrastive_gen.evaluation.metrics import (
    ExitMetric,
    ItemMetric,
    TextMetric,
    catalogue,
    exit_metrics,
    item_metric,
    scored_metrics,
    text_metrics,
)
from autocontrastive_gen.evaluation.metrics.declaration import Tolerance


def test_every_metric_says_how_to_read_it():
    assert {type(metric) for metric in catalogue.declared()} == {TextMetric, ItemMetric, ExitMetric}
    for metric in catalogue.declared():
        assert metric.title and metric.meaning and metric.direction in ("higher", "lower", "neutral"), metric.key


def test_a_metric_of_texts_is_either_of_documents_or_of_a_corpus():
    assert text_metrics()
    for metric in text_metrics().values():
        assert bool(metric.columns) == (metric.per_text is not None) == (metric.per_corpus is None), metric.key


def test_a_metric_is_found_by_its_file_and_may_be_switched_off(vowels):
    assert list(text_metrics())[:2] == ["diversity", "coherence"] and vowels in text_metrics()
    assert [metric.key for metric in scored_metrics({"mauve": True}) if metric.option] == ["mauve"]


def test_two_files_cannot_declare_one_key(vowels, tmp_path, monkeypatch):
    (tmp_path / "vowels_again.py").write_text(f"from {metrics.__name__}.vowels import METRICS")
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    catalogue.declared.cache_clear()
    with pytest.raises(TypeError, match="vowels_again.py: a TextMetric 'vowels' is declared already"):
        text_metrics()


def test_metrics_of_benchmarks():
    assert item_metric("perplexity").direction == "lower" and item_metric("acc").direction == "higher"
    assert item_metric("perplexity").value(np.log([[0.5], [0.125]])) == pytest.approx(4.0)
    assert item_metric("acc").value(np.array([[1.0], [0.0]])) == 0.5
    unknown = item_metric("made_up")
    assert (unknown.direction, unknown.title, unknown.value(np.array([[3.0], [1.0]]))) == ("neutral", "made_up", 2.0)


def test_axes_name_the_unit_or_the_scale():
    assert text_metrics()["coherence"].axis == "Coherence (cosine)"
    assert text_metrics()["perplexity"].axis == "Perplexity"
    assert exit_metrics()["perplexity"].axis == "Perplexity (log scale)"


@pytest.mark.parametrize(
    "before, after, allowed",
    [
        (0.5, 0.64, True),
        (0.5, 0.66, False),
        (10.0, 11.9, True),
        (10.0, 12.1, False),
        (np.inf, np.inf, True),
        (np.inf, 1.0, False),
        (1.0, np.inf, False),
    ],
)
def test_a_tolerance_is_absolute_or_relative_whichever_is_more(before, after, allowed):
    assert Tolerance(0.15, relative=0.2).allows(before, after) is allowed
