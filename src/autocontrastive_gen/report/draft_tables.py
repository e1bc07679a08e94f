"""Whether the exits could draft for their own model: the table, and what follows from it."""

from __future__ import annotations

from typing import Any

from autocontrastive_gen.report.columns import MODEL
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table


def drafts_table(results: Results) -> Table:
    """Agreement of each exit with the chosen tokens, the break-even, and the speed at the best draft length."""
    rows = []
    for model, content in results.drafts.items():
        where = {"file": results.paths.drafts(model).as_posix(), "cell": f"score@{model}"}
        for setting, layers in content.get("settings", {}).items():
            for layer, entry in sorted(layers.items(), key=lambda item: int(item[0])):
                agreement, cost = entry["agreement"], content["costs"][layer]
                length, speed_up = best_length(entry["per_pass"], cost)
                row: dict[str, Any] = {"model": model, "setting": setting, "layer": layer}
                row["tokens"] = entry["tokens"]
                row["agreement"] = Number(agreement["value"], agreement["low"], agreement["high"], **where)
                row["break_even"] = Number(cost, **where)
                row["length"] = length
                row["per_pass"] = Number(entry["per_pass"][str(length)], digits=2, **where)
                row["speed_up"] = Number(speed_up, **where)
                rows.append(row)
    columns = [
        MODEL,
        Column("setting", "Setting"),
        Column("layer", "Exit", numeric=True, head=True),
        Column("tokens", "Tokens", numeric=True),
        Column("agreement", "Agreement with the chosen token (0–1)", numeric=True, interval=True),
        Column("break_even", "Break-even", numeric=True),
        Column("length", "Best draft length", numeric=True),
        Column("per_pass", "Tokens per pass", numeric=True),
        Column("speed_up", "Speed relative to no drafts", numeric=True),
    ]
    note = (
        f"{conclusion(rows)} Agreement: share of the generated tokens that are the exit's first choice; "
        f"{results.confidence} bootstrap intervals over documents. A draft step of the exit at layer l costs "
        "c = (l blocks + cast + head) / (L blocks + head) of a step through all L layers, counted in weights. If k "
        "drafts are verified in one pass that costs as much as one step, n tokens per pass are decoded n / (k c + 1) "
        "times as fast; where tokens agree independently with probability a, that is above 1 for some k exactly if "
        "a > c (Leviathan et al. 2023, corollary 3.9): c is the break-even. Tokens per pass are counted on the "
        "texts themselves, for k from 1 to 8, and the best k is shown. Verification costs more than one step in "
        "practice, so these speeds are upper bounds."
    )
    return Table("drafts", "Can the exits draft?", columns, rows, note if rows else "", groups=("model", "setting"))


def best_length(per_pass: dict[str, float], cost: float) -> tuple[int, float]:
    """The draft length with the highest speed relative to decoding without drafts, and that speed.

    Args:
        per_pass: {draft length k: tokens per pass}.
        cost: of a draft step, relative to a pass.
    """
    speeds = {int(k): tokens / (int(k) * cost + 1) for k, tokens in per_pass.items()}
    best = max(sorted(speeds), key=speeds.__getitem__)
    return best, speeds[best]


def conclusion(rows: list[dict[str, Any]]) -> str:
    """One sentence on whether any exit pays as a draft."""
    if not rows:
        return ""
    paying = [row for row in rows if row["speed_up"].value > 1]
    if not paying:
        best = max(rows, key=lambda row: row["speed_up"].value)
        return (
            "No: under no setting and at no draft length does an exit pay as a draft of its own model; the best, that "
            f"of layer {best['layer']} under {best['setting']}, reaches {best['speed_up'].text} of the speed without."
        )
    which = "; ".join(
        f"layer {row['layer']} under {row['setting']} ({row['speed_up'].text} times as fast at draft length "
        f"{row['length']})"
        for row in paying
    )
    return f"In {len(paying)} of {len(rows)} cases an exit pays as a draft of its own model, at best: {which}."
