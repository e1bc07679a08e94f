"""The paper's conclusions as checks of a run: paired tests, corrected for their number, and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autocontrastive_gen.foundation.statistics import Comparison, holm
from autocontrastive_gen.report.claim_rules import Claim, Claims, Task
from autocontrastive_gen.report.gains import Gain, Paired, pair_items, pair_texts
from autocontrastive_gen.report.paper import NOT_RUN
from autocontrastive_gen.report.results import Results

SUPPORTED, CONTRADICTED, NOT_SHOWN, NO_VERDICT = "supported", "contradicted", "not shown", "no verdict"


@dataclass(frozen=True)
class Check:
    """A claim tested on one model; the numbers are None if nothing could be compared."""

    claim: Claim
    model: str
    verdict: str = NOT_RUN
    reason: str = ""
    """Why the verdict is what it is."""
    settings: str = ""
    """What was compared, in names of settings."""
    scope: str = ""
    """What the verdict holds for: texts or task, and lower layer."""
    found: Comparison | None = None
    p: float | None = None
    """Of "above 0 or below 0"; of a claim of no loss, of "above -margin"."""
    opposite: float | None = None
    """Of a claim of no loss: p-value of "below -margin"."""
    corrected: float | None = None
    """``p`` after Holm's correction over the family."""
    file: str = ""
    cell: str = ""
    """``file`` holds the compared values, ``cell`` is the stage that wrote it."""


def check_claims(results: Results, rules: Claims) -> list[Check]:
    """Every claim on every model, in the order of the rules; Holm's correction is over all of them."""
    checks = [
        (_on_task if claim.tasks else _on_texts)(results, rules, claim, model)
        for claim in rules.claims
        for model in results.models
    ]
    corrected = holm({str(i): check.p for i, check in enumerate(checks) if check.p is not None})
    return [_judged(check, corrected.get(str(i)), rules, len(corrected)) for i, check in enumerate(checks)]


def level_of(claim: Claim, rules: Claims) -> float:
    """Level of a claim's interval, one end of which is the bound of a one-sided test."""
    return rules.level if claim.margin is None else 2 * rules.level - 1


def _on_texts(results: Results, rules: Claims, claim: Claim, model: str) -> Check:
    check = Check(claim, model)
    gains = _gains(results, claim, model)
    if not gains:
        layer = "the paper's halfway layer" if claim.lower else "a lower layer of the run's choice"
        reason = f"the run has no pair of settings with and without {claim.contrast} at {layer}"
        return replace(check, reason=f"{reason} for {' and '.join([*claim.decodes, *claim.than])}")
    settings = ", ".join(f"{'less ' if g.weight < 0 else ''}{g.setting} − {g.baseline}" for g in gains)
    paired = pair_texts(results, model, gains, claim.metric)
    layers = dict.fromkeys(_layer(results, model, gain.setting) for gain in gains)
    scope = f"{' and '.join(entry['title'] for entry in results.domains.values())}, {' and '.join(layers)}"
    where = {"file": results.paths.per_prompt(model).as_posix(), "cell": f"score@{model}"}
    return _tested(replace(check, settings=settings, scope=scope, **where), paired, rules)


def _on_task(results: Results, rules: Claims, claim: Claim, model: str) -> Check:
    check = Check(claim, model)
    setting = _benchmark_setting(results, claim, model)
    task = next((task.name for task in claim.tasks if _counts(results, task, model)), None)
    if setting is None or task is None:
        names = " or ".join(task.name for task in claim.tasks)
        lacks = f"no task {names}" if setting else f"no benchmarks of {claim.contrast} at that layer"
        return replace(check, reason=f"the run has {lacks}, as the claim asks for it")
    where = {"file": results.paths.items(model, setting).as_posix(), "cell": f"benchmark@{model}-{setting}"}
    scope = f"{task}, {_layer(results, model, setting)}"
    check = replace(check, settings=f"{setting} − original", scope=scope, **where)
    return _tested(check, pair_items(results, model, setting, task, claim.metric), rules)


def _tested(check: Check, paired: Paired | None, rules: Claims) -> Check:
    if paired is None:
        return replace(check, reason=f"{check.claim.metric} was not measured of the same texts or items")
    found = paired.difference(level=level_of(check.claim, rules), samples=rules.samples, permutations=rules.samples)
    if check.claim.margin is None:
        return replace(check, found=found, p=found.p_value)
    p, opposite = (test(-check.claim.margin, rules.samples) for test in (paired.above, paired.below))
    return replace(check, found=found, p=p, opposite=opposite)


def _gains(results: Results, claim: Claim, model: str) -> list[Gain]:
    """Comparisons of a claim among the settings of this run; empty if one of its sides was not run."""
    sides = []
    for decodes, sign in ((claim.decodes, 1), (claim.than, -1)):
        pairs = [pair for decode in decodes if (pair := _pair(results, claim, model, decode))]
        if decodes and not pairs:
            return []
        sides += [Gain(contrast, plain, sign / len(pairs)) for contrast, plain in pairs]
    return sides


def _pair(results: Results, claim: Claim, model: str, decode: str) -> tuple[str, str] | None:
    for contrast, plain in results.pairs:
        if contrast.decoder == decode and _fits(results, claim, model, contrast):
            return contrast.name, plain.name
    return None


def _benchmark_setting(results: Results, claim: Claim, model: str) -> str | None:
    fitting = (s.name for s in results.grid.benchmark_settings if _fits(results, claim, model, s))
    return next(fitting, None)


def _fits(results: Results, claim: Claim, model: str, setting) -> bool:
    """Whether a setting has the claim's contrast of the original head, at the claim's lower layer."""
    if setting.contrast != claim.contrast or setting.exit is not None:
        return False
    if claim.lower is None:
        return setting.lower is None
    lower = setting.lower or results.resolved(model, setting.name).get("lower")
    return lower is not None and lower == results.halfway(model)


def _counts(results: Results, task: Task, model: str) -> bool:
    if task.name not in results.plan["tasks"]:
        return False
    return not task.formats or bool(found := results.item_formats(model, task.name)) and found <= set(task.formats)


def _layer(results: Results, model: str, setting: str) -> str:
    lower = results.resolved(model, setting).get("lower")
    return f"lower layer {lower}" if lower else setting


def _judged(check: Check, corrected: float | None, rules: Claims, tests: int) -> Check:
    if check.found is None or corrected is None:
        return check
    check = replace(check, corrected=corrected)
    n = check.found.difference.n
    if n < rules.minimum_n:
        return replace(check, verdict=NO_VERDICT, reason=f"{n} documents; a verdict needs {rules.minimum_n}")
    judge = _sided if check.claim.margin is None else _no_loss
    verdict, reason = judge(check, rules, tests)
    return replace(check, verdict=verdict, reason=reason)


def _sided(check: Check, rules: Claims, tests: int) -> tuple[str, str]:
    """Interval and corrected test must both put the effect on one side of 0."""
    interval = check.found.difference
    above, below = interval.low > 0, interval.high < 0
    if not above and not below:
        return NOT_SHOWN, "the interval contains 0: these data allow either"
    side = "above" if above else "below"
    if check.corrected > rules.alpha:
        return NOT_SHOWN, f"the interval lies {side} 0, but corrected for {tests} tests p is {check.corrected:.2g}"
    agrees = below if check.claim.kind == "smaller" else above
    return SUPPORTED if agrees else CONTRADICTED, f"the interval lies {side} 0, and the corrected test agrees"


def _no_loss(check: Check, rules: Claims, tests: int) -> tuple[str, str]:
    """One-sided: a loss beyond the margin must be ruled out; a contradiction takes the opposite test."""
    interval, margin = check.found.difference, f"−{check.claim.margin:g}"
    if interval.low > -check.claim.margin and check.corrected <= rules.alpha:
        return SUPPORTED, f"the one-sided bound lies above {margin}, and the corrected test agrees"
    opposite = min(1.0, tests * check.opposite)
    if interval.high < -check.claim.margin and opposite <= rules.alpha:
        return CONTRADICTED, f"the loss exceeds {-check.claim.margin:g}".replace("-", "−") + (
            f": the interval lies below it, p of the opposite test times {tests} is {opposite:.2g}"
        )
    if interval.low > -check.claim.margin:
        return NOT_SHOWN, f"the bound lies above {margin}, but corrected for {tests} tests p is {check.corrected:.2g}"
    return NOT_SHOWN, f"the interval reaches {margin}: these data do not rule out a loss of that size"
