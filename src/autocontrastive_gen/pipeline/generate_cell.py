"""One cell of the generate stage: one model continues the prompts of every domain under one setting."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, read_jsonl, write_jsonl
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model, read_resolved
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.entries import parameters_of


def generate_cell(name: str, setting_name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.texts`` of every domain; finished batches survive an interruption in ``.scratch``.

    Returns what came out, in a few words.
    """
    resolved = read_resolved(paths, name, setting_name)
    prompts = {domain: paths.prompts(domain) for domain in plan["domains"]}
    key = [plan, resolved, {domain: file_sha256(path) for domain, path in prompts.items()}, code_digest("generate")]
    scratch = SCRATCH / "generate" / fingerprint(key)[:16]
    share = Processes.start().share
    model, tokenizer = load_cell_model(paths, name, plan["model"], exit_fields(resolved))
    decoder = DECODERS.build(plan["decoder"]["method"], parameters_of(plan["decoder"]))
    keep = {part: scratch / part for part in ("texts", "notes")}
    rows = {domain: read_jsonl(path) for domain, path in prompts.items()}
    together = [*chain.from_iterable(rows.values())]  # a batch holds prompts of several domains
    count, seed, batch_size = plan["new_tokens"], plan["seed"], plan["batch_size"]
    texts = generate_texts(
        model, tokenizer, together, decoder, count, seed, batch_size, keep=keep["texts"], share=share, notes=True
    )
    texts = annotate(model, tokenizer, texts, batch_size, keep=keep["notes"], share=share)
    if share[0] == 0:
        shutil.rmtree(paths.generate(name, setting_name), ignore_errors=True)
        rest = iter(texts)
        for domain, its in rows.items():
            write_jsonl(paths.texts(name, setting_name, domain), [*islice(rest, len(its))])
        shutil.rmtree(scratch, ignore_errors=True)
    tokens = sum(len(row["tokens"]) for row in texts)
    cost |= {"tokens": tokens, "processes": share[1]}
    changed = sum(len(row["changed"] or ()) for row in texts)
    return f"{len(texts)} texts" + (
        f", contrast changed {100 * changed / tokens:.0f} % of the tokens" if changed else ""
    )
