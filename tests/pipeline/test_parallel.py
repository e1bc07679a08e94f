"""The cells of a run side by side."""

import pytest

from tests.pipeline.conftest import stages_of

pytestmark = pytest.mark.slow


def test_cells_side_by_side_write_what_they_write_one_by_one(clone):
    clone.edit("generate:\n  # Tokens per continuation.\n  new_tokens: 8", "generate:\n  new_tokens: 9")
    ran = stages_of(clone.run("python", "-m", "stages.reproduce", "--jobs", "2"))
    assert sorted(ran[:3]) == ["fetch", "generate@tiny-greedy", "generate@tiny-greedy-acd"]
    assert ran[3:] == ["score@tiny", "report", "track"]
    side_by_side = clone.results()
    assert stages_of(clone.run("python", "-m", "stages.reproduce", "--jobs", "2")) == [] == clone.repro()
    clone.repro("--force", "--single-item", "generate@tiny-greedy", "generate@tiny-greedy-acd")
    assert "score@tiny" not in clone.repro(), "the same bytes"
    assert clone.results() == side_by_side
