"""One cell of the score stage: every text of a model, and the human ones, by prompt and by domain."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autocontrastive_gen.evaluation import metrics
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint, seed_for
from autocontrastive_gen.foundation.files import SCRATCH, read_jsonl, write_csv, write_json

log = logging.getLogger(__name__)

HUMAN = "human"
REPETITION = tuple(f"rep_{n}" for n in metrics.NGRAMS)
MEANS = ("diversity_per_text", "coherence", "changed")
"""Metrics whose value for a domain is the mean over its documents."""
COLUMNS = ["setting", "domain", "id", *MEANS, *REPETITION, "perplexity", *metrics.COUNTS]

Texts = dict[tuple[str, str], list[dict]]
"""(setting or "human", domain) -> rows with "id", "prompt", "continuation", "tokens", "nll", "changed"."""


def score_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> None:
    """Write ``paths.per_prompt`` and ``paths.metrics`` of one model."""
    texts: Texts = {
        (setting, domain): read_jsonl(paths.texts(name, setting, domain))
        for domain in plan["domains"]
        for setting in plan["settings"]
    }
    model, tokenizer = _model(name, plan, paths)
    for domain in plan["domains"]:
        longest = max(len(row["tokens"]) for (_, d), rows in texts.items() if d == domain for row in rows)
        texts[HUMAN, domain] = human_rows(tokenizer, read_jsonl(paths.prompts(domain)), longest)
        if plan["text_perplexity"]:
            texts[HUMAN, domain] = _with_nll(model, tokenizer, texts[HUMAN, domain], paths.prompts(domain), plan)
    table = per_prompt(texts, metrics.load_encoder(paths.asset(plan["coherence_asset"])), plan["text_perplexity"])
    similarity = _mauve(*_feature_model(model, tokenizer, plan, paths), texts, plan) if plan["mauve"] else {}
    shutil.rmtree(paths.score(name), ignore_errors=True)
    write_csv(paths.per_prompt(name), COLUMNS, table)
    write_json(paths.metrics(name), aggregate(table, plan["bootstrap"], plan["seed"], similarity))
    cost["texts"] = len(table)
    log.info("%d texts scored; written to %s", len(table), paths.score(name))


def _model(name: str, plan: Mapping[str, Any], paths: Paths):
    from autocontrastive_gen.pipeline.cell_model import load_cell_model

    return load_cell_model(paths, name, plan["model"], {"use_original_head": True})


def human_rows(tokenizer, prompts: list[dict], longest: int) -> list[dict]:
    """Human continuations as rows, cut to as many tokens as the generated ones have."""
    rows = []
    for prompt in prompts:
        tokens = tokenizer(" " + prompt["human"], add_special_tokens=False)["input_ids"][:longest]
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        rows.append({"id": prompt["id"], "prompt": prompt["prompt"], "continuation": text, "tokens": tokens})
    return rows


def _with_nll(model, tokenizer, rows: list[dict], source: Path, plan: Mapping[str, Any]) -> list[dict]:
    from autocontrastive_gen.generation.annotate import annotate
    from autocontrastive_gen.pipeline.code import code_digest

    key = [plan["model"], [row["tokens"] for row in rows], file_sha256(source), code_digest("score")]
    keep = SCRATCH / "score" / fingerprint(key)[:16]
    rows = annotate(model, tokenizer, rows, batch_size=16, keep=keep)
    shutil.rmtree(keep, ignore_errors=True)
    return rows


def per_prompt(texts: Texts, encoder, with_perplexity: bool) -> list[dict]:
    """One row a text, with the columns COLUMNS."""
    everything = [row for rows in texts.values() for row in rows]
    coherence = iter(
        metrics.coherence(encoder, [row["prompt"] for row in everything], [row["continuation"] for row in everything])
    )
    return [
        {"setting": setting, "domain": domain, "coherence": next(coherence), **_of_text(row, with_perplexity)}
        for (setting, domain), rows in texts.items()
        for row in rows
    ]


def _of_text(row: dict, with_perplexity: bool) -> dict:
    counts = metrics.ngram_counts(row["continuation"])
    repeated = metrics.repetition(counts) or (None,) * len(REPETITION)
    changed = row.get("changed")
    return {
        "id": row["id"],
        "diversity_per_text": metrics.diversity_of_counts(counts),
        **{key: None if rate is None else 100 * rate for key, rate in zip(REPETITION, repeated, strict=True)},
        "perplexity": math.exp(row["nll"]) if with_perplexity else None,
        "changed": None if changed is None else len(changed) / len(row["tokens"]),
        **dict(zip(metrics.COUNTS, counts, strict=True)),
    }


def aggregate(table: list[dict], bootstrap: Mapping[str, Any], seed: int, similarity: Mapping) -> dict:
    """{setting: {domain: {metric: {value, low, high, n}}}}, intervals by bootstrap over documents.

    Args:
        table: rows of ``per_prompt``.
        bootstrap: "samples" and "level".
        similarity: {(setting, domain): MAUVE}.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in table:
        groups.setdefault((row["setting"], row["domain"]), []).append(row)
    found: dict[str, dict] = {}
    for (setting, domain), rows in groups.items():

        def interval(values, metric, statistic=statistics.mean, domain=domain):
            # the same resamples for every setting: their intervals differ by their texts alone
            return statistics.interval(
                values, statistic, **bootstrap, seed=seed_for(seed, "score", domain, metric)
            ).as_dict()

        entry = _of_group(rows, interval)
        if (setting, domain) in similarity:
            entry["mauve"] = {"value": similarity[setting, domain], "low": None, "high": None, "n": len(rows)}
        found.setdefault(setting, {})[domain] = entry
    return found


def _of_group(rows: list[dict], interval) -> dict[str, dict]:
    counts = np.array([[row[column] for column in metrics.COUNTS] for row in rows])
    # the estimate is rounded as in SimCTG's script, the interval needs no rounding
    exact = {"value": metrics.diversity_of_counts(counts.sum(axis=0))}
    found = {"diversity": interval(counts, "diversity", statistics.pooled_product) | exact}
    for i, key in enumerate(REPETITION):
        if counts[:, 2 * i + 1].any():
            found[key] = interval(counts[:, 2 * i : 2 * i + 2], key, _repeated)
    for key in MEANS:
        values = [row[key] for row in rows if row[key] is not None]
        if values:
            found[key] = interval(values, key)
    surprise = [math.log(row["perplexity"]) for row in rows if row["perplexity"] is not None]
    if surprise:
        found["perplexity"] = interval(surprise, "perplexity", _exp_mean)
    return found


def _repeated(totals: np.ndarray, n: int) -> np.ndarray:
    """Per cent of n-grams that repeat an earlier one of their text, pooled over texts."""
    return 100 * (1 - statistics.pooled_product(totals, n))


def _exp_mean(totals: np.ndarray, n: int) -> np.ndarray:
    """Perplexity of equally long texts together: the exponential of the mean over documents of nats a token."""
    return np.exp(statistics.mean(totals, n))


def _feature_model(model, tokenizer, plan: Mapping[str, Any], paths: Paths):
    """Model and tokenizer that MAUVE's features come from: the scored ones, or the asset that the plan names."""
    if plan["mauve_features"] is None:
        return model, tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = paths.asset(plan["mauve_features"]["asset"])
    offline = {"local_files_only": True, "trust_remote_code": False}
    features = AutoModelForCausalLM.from_pretrained(folder, **offline).to(model.device).eval()
    return features, AutoTokenizer.from_pretrained(folder, **offline)


def _mauve(model, tokenizer, texts: Texts, plan: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """MAUVE of each setting against the human texts of its domain, prompts included; features from ``model``."""

    def features(rows: list[dict]) -> np.ndarray:
        return metrics.last_states(model, tokenizer, [f"{row['prompt']} {row['continuation'].strip()}" for row in rows])

    found, human = {}, {domain: features(texts[HUMAN, domain]) for domain in plan["domains"]}
    for (setting, domain), rows in texts.items():
        if setting != HUMAN:
            found[setting, domain] = metrics.mauve(features(rows), human[domain], plan["seed"])
    return found
