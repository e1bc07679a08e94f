"""One cell of the score stage: scores of all texts of one model and of the human ones, by prompt and by domain."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.evaluation.drafting import drafting, step_costs
from autocontrastive_gen.evaluation.metrics import HUMAN, Texts
from autocontrastive_gen.evaluation.scoring_context import ScoringContext
from autocontrastive_gen.evaluation.text_scores import aggregate, corpus_values, score_table
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import fingerprint, seed_for
from autocontrastive_gen.foundation.files import SCRATCH, read_jsonl, write_csv, write_json
from autocontrastive_gen.pipeline.cell_model import load_with_exits
from autocontrastive_gen.pipeline.text_lens import write_lenses


def score_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.per_prompt``, ``paths.metrics``, ``paths.drafts`` and ``paths.lens`` of one model."""
    texts: Texts = {
        (setting, domain): read_jsonl(paths.texts(name, setting, domain))
        for domain in plan["domains"]
        for setting in plan["settings"]
    }
    prompts = {domain: read_jsonl(paths.prompts(domain)) for domain in plan["domains"]}
    context = ScoringContext(plan, paths.asset, lambda: load_with_exits(paths, name, plan["model"]))
    model, tokenizer = context.scored
    for domain in plan["domains"]:
        longest = max(len(row["tokens"]) for (_, d), rows in texts.items() if d == domain for row in rows)
        texts[HUMAN, domain] = human_rows(tokenizer, prompts[domain], longest)
    documents = {row["id"]: row.get("document", row["id"]) for rows in prompts.values() for row in rows}
    for rows in texts.values():
        for row in rows:
            row["document"] = documents[row["id"]]
    context.scratch = _scratch(texts, plan)
    table = score_table(texts, context)
    scores = aggregate(table, corpus_values(texts, context), plan)
    drafts = _drafts(model, tokenizer, plan, texts)
    shutil.rmtree(paths.score(name), ignore_errors=True)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    write_csv(paths.per_prompt(name), list(table.columns), rows)
    write_json(paths.metrics(name), scores)
    write_json(paths.drafts(name), drafts)
    write_lenses(name, plan, paths, texts, model, tokenizer)
    shutil.rmtree(context.scratch, ignore_errors=True)
    cost["texts"] = len(table)
    return f"{len(table)} texts, {_headline(scores, plan)}"


def _drafts(model, tokenizer, plan: Mapping[str, Any], texts: Texts) -> dict[str, Any]:
    """The content of ``paths.drafts``; empty if the run has no setting that shows it."""
    found = {}
    for setting in plan["drafted"]["settings"]:
        rows = [row for domain in plan["domains"] for row in texts[setting, domain][: plan["drafted"]["texts"]]]
        seed = seed_for(plan["seed"], "drafts")
        found[setting] = drafting(model, tokenizer, rows, seed=seed, **plan["bootstrap"])
    return {"costs": step_costs(model), "settings": found} if found else {}


def _headline(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], plan: Mapping[str, Any]) -> str:
    """The first settings' diversity, averaged over domains: "diversity greedy 0.20, greedy-acd 0.75"."""
    means = []
    for setting in plan["settings"][:3]:
        values = [entry["diversity"]["value"] for entry in scores[setting].values() if "diversity" in entry]
        means += [f"{setting} {sum(values) / len(values):.2f}"] if values else []
    return f"diversity {', '.join(means)}"


def _scratch(texts: Texts, plan: Mapping[str, Any]):
    """The folder for the resume state of exactly these texts, this model and this code."""
    from autocontrastive_gen.pipeline.code import code_digest

    tokens = [[*key, [[row["prompt"], row["tokens"]] for row in rows]] for key, rows in texts.items()]
    return SCRATCH / "score" / fingerprint([plan["model"], tokens, code_digest("score")])[:16]


def human_rows(tokenizer, prompts: list[dict], longest: int) -> list[dict]:
    """Human continuations as rows, cut to as many tokens as the generated ones have."""
    rows = []
    for prompt in prompts:
        tokens = tokenizer(" " + prompt["human"], add_special_tokens=False)["input_ids"][:longest]
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        rows.append({"id": prompt["id"], "prompt": prompt["prompt"], "continuation": text, "tokens": tokens})
    return rows
