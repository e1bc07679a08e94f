"""The headline numbers of a run: contrast beside the same decoder without it."""

import pytest

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.statistics import Interval
from autocontrastive_gen.report.headlines import closing, headlines


class Pair:
    def __init__(self, name):
        self.name = name


class Run:
    """The part of ``Results`` that headlines read."""

    models = {"tiny": {}}
    pairs = [(Pair("greedy-acd"), Pair("greedy"))]
    settings = (Pair("greedy"), Pair("greedy-acd"))
    baseline = "greedy"
    paths = Paths("smoke")
    costs = {
        "generate-tiny-greedy": {"tokens": 100, "wall_s": 1.0},
        "generate-tiny-greedy-acd": {"tokens": 100, "wall_s": 1.25},
    }

    def pooled(self, model, setting):
        values = {"greedy": (0.2, 0.5), "greedy-acd": (0.75, 0.53)}[setting]
        return {
            key: Interval(value, None, None, 8) for key, value in zip(("diversity", "coherence"), values, strict=True)
        }


def test_contrast_stands_beside_plain():
    found = "tiny, greedy → greedy-acd: diversity 0.20 → 0.75, coherence 0.50 → 0.53, speed 0.80 of plain"
    assert headlines(Run()) == [found]
    shown = closing(Run())
    assert shown.startswith(found) and "file:///" in shown and "reports/smoke/index.html" in shown


@pytest.mark.parametrize(("field", "value"), [("pairs", []), ("models", {})])
def test_a_run_without_contrast_has_no_headline(field, value):
    run = Run()
    setattr(run, field, value)
    assert headlines(run) == [] and "To try next" in closing(run)


def test_numbers_that_are_absent_are_left_out():
    run = Run()
    run.costs = {}
    assert headlines(run) == ["tiny, greedy → greedy-acd: diversity 0.20 → 0.75, coherence 0.50 → 0.53"]
