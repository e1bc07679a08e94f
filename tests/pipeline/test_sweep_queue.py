"""A sweep as docs/sweeps.md describes it, with DVC's own queue, down to its figure."""

import csv
import re
import subprocess
import time

import pytest


def commands(root, number: int) -> list[str]:
    """Commands of one block of the document, for the smoke profile."""
    block = re.findall(r"```bash\n(.*?)```", (root / "docs/sweeps.md").read_text(), re.DOTALL)[number]
    return block.replace("laptop", "smoke").splitlines()


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1500)
def test_queued_experiments_end_in_a_figure(root, clone):
    for command in commands(root, 0):
        # the worker outlives its command and would hold a pipe open
        subprocess.run(
            command, shell=True, cwd=clone.folder, env=clone.environment, check=True, stdout=subprocess.DEVNULL
        )
    until = time.monotonic() + 1200
    while re.search(r"Queued|Running", status := clone.run("dvc", "queue", "status")):
        assert time.monotonic() < until, status
        time.sleep(1)
    assert status.count("Success") == 2, status
    shown, drawn = (clone.run("bash", "-euc", command) for command in commands(root, 1))
    assert "0.02" in shown and "0.5" in shown
    folder = clone.folder / "reports/smoke/sweeps"
    with open(folder / "contrasts-acd-alpha.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2 * 2, "values, settings, domains, metrics"
    assert [row["contrasts.acd.alpha"] for row in rows] == sorted(row["contrasts.acd.alpha"] for row in rows)
    contrast = {
        row["contrasts.acd.alpha"]: row["value"]
        for row in rows
        if (row["setting"], row["domain"], row["metric"]) == ("greedy-acd", "made-a", "coherence")
    }
    plain = {
        row["value"]
        for row in rows
        if (row["setting"], row["domain"], row["metric"]) == ("greedy", "made-a", "coherence")
    }
    assert len(plain) == 1 and len(set(contrast.values())) > 1, "alpha moves contrast alone"
    assert (folder / "contrasts-acd-alpha.png").read_bytes().startswith(b"\x89PNG")
    assert "contrasts.acd.alpha" in (folder / "contrasts-acd-alpha.svg").read_text()
    # an experiment of another kind is told from the sweep's
    clone.edit("top_k: 10", "top_k: 11")
    refused = clone.run("python", "-m", "stages.sweep", "contrasts.acd.alpha", code=2)
    assert (
        "differs in decoders.top-k.top_k" in refused and "dvc exp run --queue" in refused and "Traceback" not in refused
    )
