"""Compare the new report with the committed one.

On the processor that made the committed report, tables and metrics must be the same byte for byte. On another one,
rounding in bfloat16 may decide a tie between two tokens differently, and the text goes on from there: then every number
must lie within the tolerance that its metric declares, and everything in words must be the same, verdicts above all.
"""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from autocontrastive_gen.evaluation.metrics import Metric, exit_metrics, item_metric, text_metrics
from autocontrastive_gen.foundation.files import parse_json

REPORT = "reports/laptop"
FREE_COLUMNS = ("reason", "front")
"""Words that quote numbers, or follow from points that may lie close together."""


FIND = {"quality": text_metrics().get, "exits": exit_metrics().get, "benchmark": item_metric}
"""How the first part of a key of metrics.json leads to the declaration of its last part."""


def metric_of(key: str) -> Metric | None:
    """Declaration of a metric by its key in metrics.json; None for a chosen layer, which must be the same."""
    kind, name = key.partition("/")[0], key.rpartition("/")[2]
    return FIND[kind](name) if kind in FIND else None


def metric_faults(old: dict[str, float], new: dict[str, float]) -> Iterator[str]:
    """Keys of metrics.json that one side lacks, or whose values differ by more than the metric's tolerance."""
    for key in sorted(old.keys() ^ new.keys()):
        yield f"{key}: only in the {'committed' if key in old else 'new'} metrics"
    for key in sorted(old.keys() & new.keys()):
        metric = metric_of(key)
        allowed = metric.tolerance.allows(old[key], new[key]) if metric else old[key] == new[key]
        if not allowed:
            yield f"{key}: {old[key]} committed, {new[key]} now"


def table_faults(name: str, old: str, new: str) -> Iterator[str]:
    """Cells in words that differ between two csv files, and effects of claims beyond the tolerance of their metric."""
    before, after = (list(csv.DictReader(io.StringIO(text))) for text in (old, new))
    if len(before) != len(after) or old.partition("\n")[0] != new.partition("\n")[0]:
        yield f"{name}: has other rows or columns"
        return
    for number, (first, second) in enumerate(zip(before, after, strict=True), start=2):
        for column in first:
            a, b = first[column], second[column]
            if column not in FREE_COLUMNS and a != b and not (is_number(a) and is_number(b)):
                yield f"{name}, line {number}, {column}: {a or 'empty'} committed, {b or 'empty'} now"
        if name.endswith("claims.csv") and first["effect"] and second["effect"]:
            metric = text_metrics().get(first["metric"]) or item_metric(first["metric"])
            if not metric.tolerance.allows(float(first["effect"]), float(second["effect"])):
                yield f"{name}, line {number}: effect {first['effect']} committed, {second['effect']} now"


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def same_processor(*costs: str) -> bool:
    """Whether all cells of both cost files ran on one kind of processor, with as many cores; False if one is silent."""
    cells = [cell for cost in costs for cell in json.loads(cost)["cells"].values()]
    return len({(cell.get("processor", i), cell["cores"]) for i, cell in enumerate(cells)}) == 1


def committed(path: str) -> str:
    return subprocess.run(["git", "show", f"HEAD:{path}"], capture_output=True, text=True, check=True).stdout


def committed_files(folder: str) -> list[str]:
    listing = subprocess.run(["git", "ls-tree", "-r", "--name-only", "HEAD", folder], capture_output=True, text=True)
    return listing.stdout.split()


def main() -> None:
    names = [f"{REPORT}/metrics.json", *committed_files(f"{REPORT}/tables")]
    faults = [f"{name}: was not made again" for name in names if not Path(name).exists()]
    texts = {name: (committed(name), Path(name).read_text()) for name in names if Path(name).exists()}
    same = sum(old == new for old, new in texts.values())
    exact = same_processor(committed(f"{REPORT}/cost.json"), Path(f"{REPORT}/cost.json").read_text())
    for name, (old, new) in texts.items():
        if exact and old != new:
            faults.append(f"{name}: has other bytes, on the same processor")
        if name.endswith("metrics.json"):
            faults += metric_faults(parse_json(old), parse_json(new))
        elif name.endswith(".csv"):
            faults += table_faults(name, old, new)
    kind = "the same" if exact else "another or an unknown"
    print(f"{len(texts)} files compared on {kind} processor: {same} are the same byte for byte")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
