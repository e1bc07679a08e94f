"""A sweep: the finished experiments that differ only in chosen parameters, as a table and a figure."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.experiment.params import PARAMS
from autocontrastive_gen.experiment.settings import parse_setting
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.trees import differing
from autocontrastive_gen.review.snapshots import WORKSPACE, Revision, State, Workspace

log = logging.getLogger(__name__)

COLUMNS = ["experiment", "model", "setting", "domain", "metric", "value", "low", "high", "n"]


def states() -> list[State]:
    """The workspace, every DVC experiment, and the commits: the latest one and those that experiments started from.

    The commits keep the baseline in the sweep after an experiment was applied to the workspace.
    """
    command = ["git", "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps/*/*/*"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"DVC's experiments are kept in git, which says: {' '.join(done.stderr.split())}")
    lines = done.stdout.splitlines()
    found = [line.partition(" ")[::2] for line in lines]
    head = subprocess.run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True, text=True)
    starts = ["".join(reference.split("/")[2:4]) for _, reference in found]  # refs/exps/ab/cdef.../name
    commits = [Revision(f"commit {commit[:7]}", commit) for commit in dict.fromkeys([head.stdout.strip(), *starts])]
    experiments = [Revision(reference.rpartition("/")[2], commit) for commit, reference in found]
    with_params = (state for state in commits if state.commit and state.read(PARAMS) is not None)
    return [Workspace(WORKSPACE), *experiments, *with_params]


def value_at(params: dict[str, Any], key: str) -> Any:
    """Value under a dotted key; ValueError if there is none."""
    value: Any = params
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            known = ", ".join(value) if isinstance(value, dict) else "none"
            raise InputError(f"{key}: params.yaml has no {part!r} there; known: {known}")
        value = value[part]
    if isinstance(value, dict):
        raise InputError(f"{key}: is a section of params.yaml; name one of its keys: {', '.join(value)}")
    return tuple(value) if isinstance(value, list) else value


def comparable(found: Iterable[State], keys: Sequence[str]) -> list[State]:
    """The states that differ from the first one only in ``keys``, one for each combination of their values."""
    first, *others = found
    kept = {tuple(value_at(first.params, key) for key in keys): first}
    for state in others:
        strange = [name for name in differing(first.params, state.params) if name not in keys]
        if strange:
            more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            log.info("%s is left out: it also differs in %s%s", state.label, ", ".join(strange[:5]), more)
            continue
        kept.setdefault(tuple(value_at(state.params, key) for key in keys), state)
    return list(kept.values())


def rows(
    found: Sequence[State], keys: Sequence[str], settings: Sequence[str], metrics: Sequence[str]
) -> Iterator[dict]:
    """A row for each experiment, model, setting, domain and metric: ``keys`` and ``COLUMNS``."""
    for state in found:
        values = {key: value_at(state.params, key) for key in keys}
        for model in state.params["run"]["models"]:
            scores = state.read_json(state.paths.metrics(model))
            if scores is None:
                log.info("%s is left out: its scores are neither here nor in DVC's cache", state.label)
                continue
            for setting in settings:
                for domain, entry in scores.get(setting, {}).items():
                    for metric in metrics or _headline(entry):
                        if metric not in entry:
                            raise InputError(f"metric {metric!r} was not scored; there are: {', '.join(sorted(entry))}")
                        row = {"experiment": state.label, "model": model, "setting": setting, "domain": domain}
                        yield {**values, **row, "metric": metric, **entry[metric]}


def _headline(scores: dict[str, dict]) -> list[str]:
    """Those of a setting's metrics that figures show."""
    return [metric.key for metric in text_metrics().values() if metric.headline and metric.key in scores]


def default_settings(params: dict[str, Any]) -> list[str]:
    """The settings of the run's first way of decoding, with contrast and without."""
    parsed = [parse_setting(name, params["decoders"], params["contrasts"]) for name in params["run"]["settings"]]
    return [setting.name for setting in parsed if setting.decoder == parsed[0].decoder]


def table(keys: Sequence[str], settings: Sequence[str] = (), metrics: Sequence[str] = ()):
    """Rows of the sweep over ``keys``, sorted by their values; InputError if fewer than two values are finished."""
    found = comparable(states(), keys)
    ran = list(dict.fromkeys(name for state in found for name in state.params["run"]["settings"]))
    if strange := [name for name in settings if name not in ran]:
        raise InputError(f"--settings: {', '.join(strange)} not in run.settings; there are: {', '.join(ran)}")
    names = list(settings) or default_settings(found[0].params)
    result = list(rows(found, keys, names, metrics))
    finished = {tuple(row[key] for key in keys) for row in result}
    if len(finished) < 2:
        raise InputError(
            f"{' x '.join(keys)}: {len(finished)} finished value; a sweep needs two. Queue some, say with "
            f"`dvc exp run --queue -S '{keys[0]}=<value>,<value>'`, and run them with `dvc queue start`"
        )
    return sorted(result, key=lambda row: [_order(row[key]) for key in keys])


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if _is_number(value) else (1, str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(found: list[dict], keys: Sequence[str]):
    """The sweep as a figure: a row per metric, a column per domain, a series per setting and value of the other keys.

    Numbers on the x axis are joined by lines. Categories stand apart, with the series side by side.
    """
    from autocontrastive_gen.report import drawing

    metrics, domains = (list(dict.fromkeys(row[key] for row in found)) for key in ("metric", "domain"))
    ticks = sorted({row[keys[0]] for row in found}, key=_order)
    numeric = all(_is_number(tick) for tick in ticks)
    place = {tick: float(tick) if numeric else float(i) for i, tick in enumerate(ticks)}
    declared = text_metrics()
    series: dict[str, list[dict]] = {}
    for row in found:
        rest = "".join(f", {key.rpartition('.')[2]} {row[key]}" for key in keys[1:])
        series.setdefault(f"{row['model']} {row['setting']}{rest}", []).append(row)
    with drawing.style():
        canvas, axes = drawing.new_canvas(len(domains), len(metrics), share_y="row")
        for i, metric in enumerate(metrics):
            for j, domain in enumerate(domains):
                axis = axes[i, j]
                for k, (label, members) in enumerate(series.items()):
                    points = [row for row in members if row["metric"] == metric and row["domain"] == domain]
                    shift = 0.0 if numeric else 0.5 * ((k + 0.5) / len(series) - 0.5)
                    at = [place[row[keys[0]]] + shift for row in points]
                    _draw_series(axis, at, points, k, label, joined=numeric)
                axis.set_xticks(list(place.values()), [f"{tick:g}" if numeric else str(tick) for tick in ticks])
                axis.set_xlabel(keys[0] if i == len(metrics) - 1 else "")
                axis.set_title(domain if i == 0 else "")
                axis.set_ylabel(declared[metric].axis if metric in declared and j == 0 else "")
        drawing.add_legend(canvas, axes[0, 0])
        name = "-by-".join(key.replace(".", "-") for key in keys)
        return drawing.finish(canvas, name, f"{', '.join(metrics)} by {keys[0]}.", "The numbers are in the csv.")


def _draw_series(axis, at: list[float], points: list[dict], k: int, label: str, joined: bool) -> None:
    """Values with their intervals at the places ``at``, in the colours of series ``k``."""
    from autocontrastive_gen.report import drawing
    from autocontrastive_gen.report.table import Number

    colour, marker = drawing.SERIES[k % 7], drawing.MARKERS[k % 7]
    if joined:
        axis.plot(at, [row["value"] for row in points], color=colour)
    for x, row in zip(at, points, strict=True):
        drawing.add_point(axis, x, Number(row["value"], row["low"], row["high"]), colour, marker, label)
