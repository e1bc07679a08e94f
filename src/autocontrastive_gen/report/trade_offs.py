"""The project's own question, apart from the paper's: contrast against the cheap remedies, on the same prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.foundation.statistics import Interval, holm
from autocontrastive_gen.report.claim_rules import Claims, TradeOffs
from autocontrastive_gen.report.claims import NO_VERDICT
from autocontrastive_gen.report.gains import Gain, Paired, pair_texts
from autocontrastive_gen.report.paper import NOT_RUN
from autocontrastive_gen.report.results import Results

NEITHER = "neither"


@dataclass(frozen=True)
class TradeOff:
    """A setting against a rival on one model; the numbers are None if one of the two was not run."""

    model: str
    setting: str
    rival: str
    outcomes: tuple[str, str]
    """The verdicts if the setting wins and if it loses."""
    verdict: str = NOT_RUN
    gain: Interval | None = None
    """Setting less rival in the metric that it is to raise."""
    keep: Interval | None = None
    """Setting less rival in the metric that it is to keep."""
    p_better: float | None = None
    """Of the joint hypothesis "gains, and keeps to the margin", after Holm's correction over the family."""
    p_worse: float | None = None
    """Of "loses what it is to keep, and gains nothing beyond the margin either way", corrected likewise."""

    @property
    def reason(self) -> str:
        if self.gain is None:
            return "the run lacks one of the two settings"
        if self.verdict == self.outcomes[0]:
            return f"both parts hold, p after correction {self.p_better:.2g}"
        if self.verdict == self.outcomes[1]:
            return f"both parts hold, p after correction {self.p_worse:.2g}"
        return f"p after correction: {self.p_better:.2g} for winning, {self.p_worse:.2g} for losing"


def check_trade_offs(results: Results, rules: Claims) -> list[TradeOff]:
    """Every rival on every model; Holm's correction is over both outcomes of all of them."""
    asked = rules.trade_offs
    if asked is None:
        return []
    found = [_tested(results, rules, model, rival) for model in results.models for rival in asked.against]
    tests = {
        f"{i}-{outcome}": p
        for i, entry in enumerate(found)
        for outcome, p in (("better", entry.p_better), ("worse", entry.p_worse))
        if p is not None
    }
    corrected = holm(tests)
    return [
        entry if entry.gain is None else _judged(entry, corrected[f"{i}-better"], corrected[f"{i}-worse"], rules)
        for i, entry in enumerate(found)
    ]


def outcomes(asked: TradeOffs) -> tuple[str, str]:
    """The two verdicts: "more diverse at no less coherence" in terms of the declared metrics."""
    gain, keep = (text_metrics()[key].title.lower() for key in (asked.gain, asked.keep))
    return f"more {gain} at no less {keep}", f"less {keep} at equal {gain}"


def _tested(results: Results, rules: Claims, model: str, rival: str) -> TradeOff:
    asked = rules.trade_offs
    entry = TradeOff(model, asked.setting, rival, outcomes(asked))
    if not {asked.setting, rival} <= set(results.plan["settings"]):
        return entry
    pairs = [pair_texts(results, model, [Gain(asked.setting, rival)], key) for key in (asked.gain, asked.keep)]
    if None in pairs:
        return entry
    better, worse = _p_values(*pairs, asked, rules.samples)
    # of the differences only the intervals are used: the p-values are those of the one-sided tests
    options = {"level": rules.level, "samples": rules.samples, "permutations": 1}
    gain, keep = (pair.difference(**options).difference for pair in pairs)
    return replace(entry, gain=gain, keep=keep, p_better=better, p_worse=worse)


def _p_values(gain: Paired, keep: Paired, asked: TradeOffs, samples: int) -> tuple[float, float]:
    """Each outcome has several parts, all of which must hold: its p-value is the largest of theirs."""
    equal, loss = asked.margins[asked.gain], asked.margins[asked.keep]
    better = max(gain.above(0.0, samples), keep.above(-loss, samples))
    worse = max(keep.below(0.0, samples), gain.above(-equal, samples), gain.below(equal, samples))
    return better, worse


def _judged(entry: TradeOff, better: float, worse: float, rules: Claims) -> TradeOff:
    entry = replace(entry, p_better=better, p_worse=worse)
    if entry.gain.n < rules.minimum_n:
        return replace(entry, verdict=NO_VERDICT)
    won = [name for name, p in zip(entry.outcomes, (better, worse), strict=True) if p <= rules.alpha]
    return replace(entry, verdict=won[0] if won else NEITHER)
