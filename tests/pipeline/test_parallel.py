"""The cells of a stage side by side, as docs/scale.md says."""

import pytest

from tests.pipeline.conftest import stages_of

pytestmark = pytest.mark.slow


def test_two_workers_share_the_cells(root, clone):
    clone.edit("generate:\n  # Tokens per continuation.\n  new_tokens: 8", "generate:\n  new_tokens: 9")
    text = (root / "docs/scale.md").read_text()
    section = text[text.index("## Cells side by side") :]
    script = section.partition("```bash\n")[2].partition("```")[0]
    assert "-P 8" in script
    output = clone.run("bash", "-euc", script.replace("-P 8", "-P 2"), code=None)
    ran = stages_of(output)
    assert sorted(ran[:3]) == ["fetch", "generate@tiny-greedy", "generate@tiny-greedy-acd"], output
    assert ran[3:] == ["score@tiny", "report", "track"], output
    assert clone.repro() == []
