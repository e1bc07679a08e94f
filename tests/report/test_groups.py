"""Groups of documents give the intervals and effects of the documents themselves."""

import numpy as np
import pytest

from autocontrastive_gen.foundation.statistics import mean, per_row
from autocontrastive_gen.report.gains import Paired
from autocontrastive_gen.report.groups import MOST_GROUPS, in_groups


def rows(count: int, centre: float) -> np.ndarray:
    """(documents, 2): a value, and the number of rows."""
    values = np.random.default_rng(int(10 * centre)).normal(centre, 1.0, count)
    return np.column_stack([values, np.ones(count)])


def test_few_documents_stay_what_they_are():
    few = rows(MOST_GROUPS, 0.0)
    assert in_groups(few) is few


def test_no_document_is_lost():
    many = rows(3 * MOST_GROUPS + 7, 0.5)
    groups = in_groups(many)
    assert len(groups) == MOST_GROUPS and set(groups[:, 1]) == {3, 4}
    np.testing.assert_allclose(groups.sum(axis=0), many.sum(axis=0))


def test_the_interval_and_the_effect_are_those_of_documents():
    a, b = rows(4 * MOST_GROUPS + 3, 0.3), rows(4 * MOST_GROUPS + 3, 0.2)
    found = Paired(a, b, per_row(mean), {"samples": 1000, "level": 0.95, "seed": 1}).difference()
    differences = (a - b)[:, 0]
    error = differences.std(ddof=1) / np.sqrt(len(a))
    assert found.difference.n == len(a) and found.difference.value == pytest.approx(differences.mean())
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.effect == pytest.approx(differences.mean() / differences.std(ddof=1), rel=0.1)
    assert found.p_value == pytest.approx(0.002, abs=0.05)
