"""What a run was tested for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from autocontrastive_gen.report.claim_rules import Claims
from autocontrastive_gen.report.claims import Check, check_claims
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.trade_offs import TradeOff, check_trade_offs


@dataclass(frozen=True)
class Findings:
    """The rules and both families of tests."""

    rules: Claims
    checks: list[Check]
    """Of the paper's claims."""
    trade_offs: list[TradeOff]
    """Of contrast against cheaper remedies."""

    @classmethod
    def of(cls, results: Results, rules: Claims) -> Findings:
        return cls(rules, check_claims(results, rules), check_trade_offs(results, rules))
