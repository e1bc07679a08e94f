"""Qualities of an exit on held-out text, as ``training/quality.py`` measures them."""

from autocontrastive_gen.evaluation.metrics.declaration import ExitMetric, Tolerance

METRICS = (
    ExitMetric(
        key="perplexity",
        title="Perplexity",
        meaning="exponential of the mean cross-entropy of the next token",
        direction="lower",
        digits=1,
        headline=True,
        tolerance=Tolerance(0.0, relative=0.01),
        rank=10,
        error="nll_error",
        log=True,
    ),
    ExitMetric(
        key="agreement",
        title="Agreement",
        unit="0–1",
        meaning="share of positions where the exit's most likely token is the final layer's",
        direction="higher",
        headline=True,
        tolerance=Tolerance(0.01),
        rank=20,
        error="agreement_error",
        bounds=(0.0, 1.0),
    ),
    ExitMetric(
        key="entropy",
        title="Entropy",
        unit="nats",
        meaning="mean entropy of the next-token distribution",
        direction="neutral",
        digits=2,
        tolerance=Tolerance(0.0, relative=0.01),
        rank=30,
    ),
)
