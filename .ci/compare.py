"""Compare the new report with the committed one: the same tables, and numbers within stated tolerances."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

# On another processor, decoding in bfloat16 may break a tie differently, and the text differs from there on. Scores
# over 24 texts per domain then move by a fraction of the width of their interval; more is a different result.
ABSOLUTE = 0.12
RELATIVE = 0.15


def committed(path: str) -> str:
    return subprocess.run(["git", "show", f"HEAD:{path}"], capture_output=True, text=True, check=True).stdout


def flat(value, prefix=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{prefix}{key}/")
    else:
        yield prefix.rstrip("/"), value


def close(before, after) -> bool:
    """Equal, or numbers within the tolerances."""
    try:
        before, after = float(before), float(after)
    except (TypeError, ValueError):
        return before == after
    return abs(after - before) <= max(ABSOLUTE, RELATIVE * abs(before))


def main() -> None:
    folder = "reports/laptop"
    path = f"{folder}/metrics.json"
    old, new = dict(flat(json.loads(committed(path)))), dict(flat(json.loads(Path(path).read_text())))
    faults = [
        f"{key}: only in the {'committed' if key in old else 'new'} metrics" for key in sorted(old.keys() ^ new.keys())
    ]
    for key in sorted(old.keys() & new.keys()):
        if not key.startswith("lower/") and not close(old[key], new[key]):
            faults.append(f"{key}: {old[key]} committed, {new[key]} now")
    names = committed_files(f"{folder}/tables")
    faults += [f"{name}: was not made again" for name in names if not Path(name).exists()]
    for name in (name for name in names if name.endswith(".csv") and Path(name).exists()):
        before, after = (list(csv.reader(io.StringIO(text))) for text in (committed(name), Path(name).read_text()))
        if [len(row) for row in before] != [len(row) for row in after] or before[:1] != after[:1]:
            faults.append(f"{name}: has other rows or columns")
    same = sum(committed(name) == Path(name).read_text() for name in names if Path(name).exists())
    print(f"{len(new)} numbers compared, {same} of {len(names)} tables are the same byte for byte")
    if faults:
        sys.exit("\n".join(faults))


def committed_files(folder: str) -> list[str]:
    listing = subprocess.run(["git", "ls-tree", "-r", "--name-only", "HEAD", folder], capture_output=True, text=True)
    return listing.stdout.split()


if __name__ == "__main__":
    main()
