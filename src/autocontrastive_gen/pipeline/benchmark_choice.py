"""The choice of what a contrast leaves open in benchmarks, on validation items: by accuracy, not by diversity.

The rule is the one-standard-error rule (Breiman et al. 1984): of the candidates whose accuracy is within one standard
error of the highest, the simplest is taken, which here is the one nearest the paper's halfway layer. A few items cannot
tell such candidates apart, so another layer than the paper's needs evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autocontrastive_gen.pipeline.choice import Candidate, paired_error

ItemScores = dict[str, dict[str, list]]
"""{task: {"values": accuracy of each item, "documents": where each comes from}}."""
METRIC = "acc"
"""The metric of a task that counts."""


def item_scores(rows: Iterable[Mapping[str, Any]], tasks: Sequence[str]) -> ItemScores:
    """The accuracies among the rows of a benchmark (``evaluation.benchmarks.items``)."""
    found: ItemScores = {task: {"values": [], "documents": []} for task in tasks}
    for row in rows:
        if row["metric"] == METRIC:
            found[row["task"]]["values"].append(row["value"])
            found[row["task"]]["documents"].append(str(row["document"]))
    return found


def accuracy(scores: ItemScores) -> float:
    """Mean over tasks of the accuracy."""
    return sum(float(np.mean(task["values"])) for task in scores.values()) / len(scores)


def accuracy_error(scores: ItemScores, other: ItemScores) -> float:
    """Standard error of the difference of two accuracies, paired by item, over documents.

    It is infinite if the items of a task come from one document, which says nothing about others.
    """
    errors = []
    for task, ours in scores.items():
        if len(set(ours["documents"])) < 2:
            return math.inf
        differences = np.array(ours["values"]) - np.array(other[task]["values"])
        errors.append(paired_error(differences, ours["documents"]))
    return math.hypot(*errors) / len(scores)


def most_accurate(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the highest accuracy; of equal ones, the first."""
    return max(candidates, key=lambda each: accuracy(each["items"]), default=None)


def choose_accurate(candidates: Sequence[Candidate], halfway: int) -> Candidate | None:
    """The rule; None if there is no candidate.

    Args:
        candidates: with "lower" and, under "items", their ``ItemScores``.
        halfway: the paper's lower layer. Of two layers equally far from it the lower one is taken, and of equal layers
            the first candidate.
    """
    top = most_accurate(candidates)
    if top is None:
        return None

    def within_one_error(each: Candidate) -> bool:
        # a difference in one document alone is exactly one error: round off the last bits
        behind = accuracy(top["items"]) - accuracy(each["items"])
        return behind <= accuracy_error(each["items"], top["items"]) + 1e-9

    def distance(each: Candidate) -> tuple[int, int]:
        lower = halfway if each["lower"] is None else each["lower"]
        return abs(lower - halfway), lower

    return min(filter(within_one_error, candidates), key=distance)
