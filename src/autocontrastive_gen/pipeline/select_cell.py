"""One cell of the select stage: the lower layer of every contrast that leaves it open, and the resolved settings.

Nothing here trains anything. Scores of candidates are kept in ``.scratch``, so that a setting that is added to the run
measures only what is new.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.evaluation.encoders import load_encoder
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, read_json, read_jsonl, write_json
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.modeling import contrast as contrasting
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model, read_depth
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.entries import spec_of
from autocontrastive_gen.pipeline.lower_layer import Scores, choose, score_candidates
from autocontrastive_gen.pipeline.resolution import resolve_setting

log = logging.getLogger(__name__)

RULE = "highest diversity subject to coherence >= plain - {margin}, greedy search, validation prompts"


def select_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> None:
    """Write ``paths.selection`` and ``paths.resolved`` of one model."""
    scores = _Measurements(name, plan, paths).scores()
    layers = read_depth(paths.asset(plan["model"]["asset"]))
    digests = read_json(paths.exit_digests(name))
    resolved = {setting: resolve_setting(setting, plan, layers, scores, digests) for setting in plan["settings"]}
    shutil.rmtree(paths.select(name), ignore_errors=True)
    for setting, content in resolved.items():
        write_json(paths.resolved(name, setting), content)
    write_json(paths.selection(name), _selection(plan, scores, layers))
    cost["candidates"] = sum(len(measured) - 1 for measured in scores.values())


def _selection(plan: Mapping[str, Any], scores: Mapping[str, Scores], layers: int) -> dict[str, Any]:
    """By contrast: the rule, the layer that it chose for the model's upper exit, and the scores of each candidate."""
    upper, margin = plan["model"]["upper"], plan["coherence_margin"]
    below = layers if upper == "original" else upper
    return {
        contrast: {
            "rule": RULE.format(margin=margin),
            "lower": choose(measured, below, margin),
            "upper": upper,
            "scores": measured,
        }
        for contrast, measured in scores.items()
    }


class _Measurements:
    """Diversity and coherence of every candidate of every open contrast; the model is loaded only if needed."""

    def __init__(self, name: str, plan: Mapping[str, Any], paths: Paths) -> None:
        self.name, self.plan, self.paths = name, plan, paths
        self.prompts = {domain: paths.prompts(domain, "validation") for domain in plan["domains"]}
        self._loaded: tuple | None = None

    def scores(self) -> dict[str, Scores]:
        """{contrast: scores} of the contrasts whose lower layer is left to the rule."""
        open_ = [
            name for name in self.plan["contrasts"] if self.plan["model"]["lower"] == "auto" and self._is_open(name)
        ]
        return {contrast: self._kept(contrast) for contrast in open_}

    def _is_open(self, contrast: str) -> bool:
        settings = self.plan["settings"].values()
        named = any(s["contrast"] == contrast and s["lower"] is None for s in settings)
        return named and contrasting.resolve(spec_of(self.plan["contrasts"][contrast])).takes_lower

    def _kept(self, contrast: str) -> Scores:
        keys = ("model", "new_tokens", "seed", "domains", "coherence_asset", "coherence_source")
        key = [
            {key: self.plan[key] for key in keys},
            self.plan["contrasts"][contrast],
            read_json(self.paths.exit_digests(self.name)),
            {domain: file_sha256(path) for domain, path in self.prompts.items()},
            code_digest("select"),
        ]
        kept, file = Kept(SCRATCH / "select"), f"{fingerprint(key)[:16]}.json"
        if (known := kept.read_json(file)) is not None:
            return known
        found = self._measure(contrast)
        kept.write_json(file, found)
        return found

    def _measure(self, contrast: str) -> Scores:
        model, tokenizer, encoder = self._load()
        upper, entry = self.plan["model"]["upper"], self.plan["contrasts"][contrast]
        return score_candidates(
            model,
            tokenizer,
            encoder,
            {domain: read_jsonl(path) for domain, path in self.prompts.items()},
            [layer for layer in self.plan["model"]["exits"] if upper == "original" or layer < upper],
            lambda lower: exit_fields({"upper": upper, "lower": lower}, entry if lower is not None else None),
            new_tokens=self.plan["new_tokens"],
            seed=self.plan["seed"],
            title=contrast,
        )

    def _load(self) -> tuple:
        if self._loaded is None:
            exits = {"use_original_head": False, "output_layer_index": self.plan["model"]["exits"][0]}
            model, tokenizer = load_cell_model(self.paths, self.name, self.plan["model"], exits)
            encoder = load_encoder(self.paths.asset(self.plan["coherence_asset"]), str(model.device))
            self._loaded = model, tokenizer, encoder
        return self._loaded
