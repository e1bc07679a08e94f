"""One cell of the select stage: what each contrast leaves open is chosen, and the settings are resolved.

Nothing here trains anything. The scores of every candidate are kept in ``.scratch``, so that an edit of the run
measures only what is new.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from autocontrastive_gen.evaluation.encoders import load_encoder
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, read_json, read_jsonl, write_json
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.modeling.layers import read_depth
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model
from autocontrastive_gen.pipeline.choice import Scores, score_exits, summary
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.entries import with_choice
from autocontrastive_gen.pipeline.resolution import OPEN, Measured, best, candidates_of, resolve_setting

log = logging.getLogger(__name__)

RULE = "highest diversity subject to coherence >= plain - {margin}, greedy search, validation prompts"


def select_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.selection`` and ``paths.resolved`` of one model."""
    depth = read_depth(paths.asset(plan["model"]["asset"]))
    measurements = _Measurements(name, plan, paths)
    measured = {contrast: found for contrast in plan["contrasts"] if (found := measurements.of(contrast, depth))}
    digests = read_json(paths.exit_digests(name))
    resolved = {setting: resolve_setting(setting, plan, depth, measured, digests) for setting in plan["settings"]}
    shutil.rmtree(paths.select(name), ignore_errors=True)
    for setting, content in resolved.items():
        write_json(paths.resolved(name, setting), content, digits=17)  # parameters, which results depend on
    selection = {key: _selection(found, plan, depth) for key, found in measured.items()}
    write_json(paths.selection(name), selection)
    cost["candidates"] = sum(len(found["candidates"]) for found in measured.values())
    return ", ".join(map(_chosen, selection, selection.values())) or f"{len(resolved)} settings resolved"


def _chosen(contrast: str, selection: Mapping[str, Any]) -> str:
    """As in "acd contrasts with layer 25"."""
    chosen = selection["chosen"] or {"lower": None, "parameters": {}}
    layer = f" contrasts with layer {chosen['lower']}" if chosen["lower"] else ""
    return " ".join([contrast + layer, *(f"{key} {value}" for key, value in chosen["parameters"].items())])


def _selection(measured: Measured, plan: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The rule, the candidate that it chose for the model's upper exit, and the scores of each candidate."""
    upper = plan["model"]["upper"]
    candidate = best(measured, OPEN, upper, plan, depth)
    chosen = candidate and {key: candidate[key] for key in ("lower", "parameters")}
    return {"rule": RULE.format(margin=plan["coherence_margin"]), "upper": upper, "chosen": chosen, **measured}


class _Measurements:
    """Diversity and coherence of candidates; the model is loaded only if one is new."""

    def __init__(self, name: str, plan: Mapping[str, Any], paths: Paths) -> None:
        self.name, self.plan, self.paths = name, plan, paths
        self.prompts = {domain: paths.prompts(domain, "validation") for domain in plan["domains"]}

    def of(self, contrast: str, depth: int) -> Measured | None:
        """The upper exit alone and every candidate of a contrast; None if it leaves nothing open."""
        candidates = candidates_of(contrast, self.plan, depth)
        if not candidates:
            return None
        entry, plain = self.plan["contrasts"][contrast], self._scores(None, None, "no contrast")
        found = []
        for lower, parameters in candidates:
            values = [f"{name} {value}" for name, value in parameters.items()]
            title = ", ".join([contrast, *([f"lower layer {lower}"] if lower else []), *values])
            scores = self._scores(with_choice(entry, parameters), lower, title)
            found.append({"lower": lower, "parameters": parameters, **summary(scores, plain)})
        return {"plain": summary(plain), "candidates": found}

    def _scores(self, contrast: Mapping[str, Any] | None, lower: int | None, title: str) -> Scores:
        """Scores of one candidate or, without contrast, of the upper exit alone."""
        kept, file = Kept(SCRATCH / "select"), f"{fingerprint([*self._key, contrast, lower])[:16]}.json"
        if (known := kept.read_json(file)) is not None:
            return known
        fields = exit_fields({"upper": self.plan["model"]["upper"], "lower": lower, "contrast": contrast})
        model, tokenizer, encoder = self._loaded
        prompts = {domain: read_jsonl(path) for domain, path in self.prompts.items()}
        with model.set_exits(**fields):
            scores = score_exits(model, tokenizer, encoder, prompts, self.plan["new_tokens"], self.plan["seed"])
        log.debug("%s: diversity %.3f, coherence %.3f", title, *summary(scores).values())
        kept.write_json(file, scores)
        return scores

    @cached_property
    def _key(self) -> list[Any]:
        """What every score depends on."""
        keys = ("asset", "source", "dtype", "mode", "exits", "upper")
        of_plan = ("new_tokens", "seed", "domains", "coherence_asset", "coherence_source")
        return [
            {key: self.plan["model"][key] for key in keys},
            {key: self.plan[key] for key in of_plan},
            read_json(self.paths.exit_digests(self.name)),
            {domain: file_sha256(path) for domain, path in self.prompts.items()},
            code_digest("select"),
        ]

    @cached_property
    def _loaded(self) -> tuple:
        """Model with its exits, tokenizer and sentence encoder."""
        exits = {"use_original_head": False, "output_layer_index": self.plan["model"]["exits"][0]}
        model, tokenizer = load_cell_model(self.paths, self.name, self.plan["model"], exits)
        return model, tokenizer, load_encoder(self.paths.asset(self.plan["coherence_asset"]), str(model.device))
