"""The paper's conclusions as checks of this run: paired tests, corrected for their number, and a plain verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autocontrastive_gen.foundation.statistics import Comparison, holm
from autocontrastive_gen.report.gains import Gain, compare, compare_items
from autocontrastive_gen.report.paper import NOT_RUN, Claim, Claims
from autocontrastive_gen.report.results import Results

CONTRAST = "acd"
"""The contrast of the paper, by its name in the catalogue."""
SUPPORTED, CONTRADICTED, NOT_SHOWN, NO_VERDICT = "supported", "contradicted", "not shown", "no verdict"


@dataclass(frozen=True)
class Check:
    """A claim tested on one model; ``found`` and ``corrected`` are None if nothing could be compared."""

    claim: Claim
    model: str
    settings: str
    """What was compared, in names of settings."""
    found: Comparison | None
    corrected: float | None
    """p-value after Holm's correction over all checks of the run."""
    verdict: str
    reason: str = ""
    """Which part of the evidence decides the verdict, in words."""


def check_claims(results: Results, rules: Claims) -> list[Check]:
    """Every claim on every model, in the order of the rules."""
    checks = [_test(results, rules, claim, model) for claim in rules.claims for model in results.models]
    tested = {str(i): check.found.p_value for i, check in enumerate(checks) if check.found is not None}
    corrected = holm(tested)
    return [_judged(check, corrected.get(str(i)), rules, len(tested)) for i, check in enumerate(checks)]


def _test(results: Results, rules: Claims, claim: Claim, model: str) -> Check:
    options = {"level": rules.level, "samples": rules.samples}
    if claim.benchmark:
        found, settings = compare_items(results, model, CONTRAST, claim.metric, **options), f"{CONTRAST} − original"
    else:
        gains = _gains(results, claim, model)
        found = compare(results, model, gains, claim.metric, margin=claim.margin or 0.0, **options) if gains else None
        settings = ", ".join(f"{'less ' if g.weight < 0 else ''}{g.contrast} − {g.plain}" for g in gains)
    return Check(claim, model, settings, found, None, NOT_RUN, "not among this run's settings and tasks")


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
        if (contrast.decoder, contrast.contrast) != (decode, CONTRAST) or contrast.exit is not None:
            continue
        lower = contrast.lower or results.resolved(model, contrast.name).get("lower")
        if claim.lower == "halfway" and (lower is None or lower != results.halfway(model)):
            continue
        if claim.lower is None and contrast.lower is not None:
            continue
        return contrast.name, plain.name
    return None


def _judged(check: Check, corrected: float | None, rules: Claims, tests: int) -> Check:
    if check.found is None or corrected is None:
        return check
    verdict, reason = _verdict(check, corrected, rules, tests)
    return replace(check, corrected=corrected, verdict=verdict, reason=reason)


def _verdict(check: Check, corrected: float, rules: Claims, tests: int) -> tuple[str, str]:
    """Verdict and its reason: interval and corrected test must both put the effect on one side of the threshold."""
    claim, interval = check.claim, check.found.difference
    if interval.n < rules.minimum_n:
        return NO_VERDICT, f"{interval.n} documents or items; a verdict needs {rules.minimum_n}"
    threshold = -claim.margin if claim.margin else 0.0
    above, below = interval.low > threshold, interval.high < threshold
    side = "above" if above else "below"
    at = f"{threshold:g}".replace("-", "−")
    if not above and not below:
        return NOT_SHOWN, f"the interval contains {at}: these texts allow either"
    if corrected > rules.alpha:
        return NOT_SHOWN, f"the interval lies {side} {at}, but corrected for {tests} tests p is {corrected:.2g}"
    agrees = below if claim.kind == "smaller" else above
    return SUPPORTED if agrees else CONTRADICTED, f"the whole interval lies {side} {at}, and the corrected test agrees"
