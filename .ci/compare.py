"""Compare the new report with the committed one.

On the processor that made the committed report, cell by cell with as many threads, tables and metrics must be the same
byte for byte. Elsewhere sums have another order, and in bfloat16 that may break a tie between two tokens differently:
the text then goes on as another text. So there

- words and counts must be the same, the verdicts on the claims above all, and so must the chosen layers;
- scores of generated texts and effects of claims must have intervals that overlap, and an effect that the committed
  report shows must lie on the same side of 0;
- other scores must lie within the tolerance that their metric declares.
"""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from autocontrastive_gen.evaluation.metrics import Metric, TextMetric, exit_metrics, item_metric, text_metrics
from autocontrastive_gen.foundation.files import parse_json

REPORT = "reports/laptop"
QUOTING = ("reason", "front")
"""Columns of tables whose words quote numbers, or follow from points that may lie close together."""
COUNTS = ("n", "tokens")
"""Columns of tables whose numbers must be the same."""
FIND = {"quality": text_metrics().get, "exits": exit_metrics().get, "benchmark": item_metric}
"""How the first part of a key of metrics.json leads to the declaration of its last part."""


def metric_of(key: str) -> Metric | None:
    """Declaration of a metric by its key in metrics.json; None for a chosen layer, which must be the same."""
    kind, name = key.partition("/")[0], key.rpartition("/")[2]
    return FIND[kind](name) if kind in FIND else None


def has_interval(metric: Metric | None) -> bool:
    """Whether the tables give an interval over documents of generated texts, by which the metric is compared."""
    return isinstance(metric, TextMetric) and bool(metric.columns)


COMPARED = {
    "claims.csv": ["effect"],
    "quality.csv": [key for key, metric in text_metrics().items() if has_interval(metric)],
}
"""Columns of tables whose intervals must agree."""


def metric_faults(old: dict[str, float], new: dict[str, float]) -> Iterator[str]:
    """Keys of metrics.json that one side lacks, or whose values differ by more than the metric's tolerance."""
    for key in sorted(old.keys() ^ new.keys()):
        yield f"{key}: only in the {'committed' if key in old else 'new'} metrics"
    for key in sorted(old.keys() & new.keys()):
        metric = metric_of(key)
        allowed = metric.tolerance.allows(old[key], new[key]) if metric else old[key] == new[key]
        if not allowed and not has_interval(metric):
            yield f"{key}: {old[key]} committed, {new[key]} now"


def table_faults(name: str, old: str, new: str) -> Iterator[str]:
    """Words and counts that differ between two csv files, and intervals that do not agree."""
    before, after = (list(csv.DictReader(io.StringIO(text))) for text in (old, new))
    if len(before) != len(after) or old.partition("\n")[0] != new.partition("\n")[0]:
        yield f"{name}: has other rows or columns"
        return
    for number, (first, second) in enumerate(zip(before, after, strict=True), start=2):
        for column in first:
            a, b = first[column], second[column]
            in_words = column in COUNTS or not (is_number(a) and is_number(b))
            if in_words and a != b and column not in QUOTING:
                yield f"{name}, line {number}, {column}: {a or 'empty'} committed, {b or 'empty'} now"
            elif column in COMPARED.get(Path(name).name, ()) and a != b and not agree(first, second, column):
                yield f"{name}, line {number}, {column}: {a} committed, {b} now, and their intervals do not agree"


def agree(first: dict[str, str], second: dict[str, str], column: str) -> bool:
    """Whether the intervals of two rows overlap, and, for an effect that is shown, lie on the same side of 0.

    An infinite score has no interval and must be infinite in both.
    """
    ends = [row[f"{column}_{end}"] for row in (first, second) for end in ("low", "high")]
    if "" in ends:
        return first[column] == second[column]
    low, high, other_low, other_high = map(float, ends)
    shown = first.get("verdict") in ("supported", "contradicted")
    same_side = (low > 0) == (other_low > 0) and (high < 0) == (other_high < 0)
    return low <= other_high and other_low <= high and (same_side or not shown)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def same_processor(*costs: str) -> bool:
    """Whether each cell ran on the same kind of processor with as many threads; False if a cell does not say."""
    runs = [json.loads(cost)["cells"] for cost in costs]
    places = [{name: (cell.get("processor"), cell.get("threads")) for name, cell in run.items()} for run in runs]
    return all(place == places[0] and all(processor for processor, _ in place.values()) for place in places)


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
