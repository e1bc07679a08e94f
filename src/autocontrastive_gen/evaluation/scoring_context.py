"""The models that metrics ask for, each loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autocontrastive_gen.evaluation.encoders import last_states, load_encoder
from autocontrastive_gen.generation.annotate import annotate


@dataclass
class ScoringContext:
    """What ``metrics.Context`` promises, from the folders of assets and a way to load the scored model."""

    options: Mapping[str, Any]
    """The plan's entry "score" of the model."""
    folder: Callable[[str], Path]
    """Folder of an asset by its name."""
    load: Callable[[], tuple[Any, Any]]
    """Loads the model that wrote the texts, read at its original head, and its tokenizer."""
    scratch: Path | None = None
    """Folder for resume state; it belongs to exactly these texts and this code."""
    _loaded: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def asset(self, name: str) -> Path:
        return self.folder(name)

    @cached_property
    def scored(self) -> tuple[Any, Any]:
        return self.load()

    @cached_property
    def encoder(self) -> Any:
        return load_encoder(self.asset(self.options["coherence_asset"]))

    def with_likelihood(self, domain: str, rows: list[dict]) -> list[dict]:
        keep = self.scratch and self.scratch / domain
        return annotate(*self.scored, rows, batch_size=16, keep=keep)

    def last_states(self, texts: Sequence[str], asset: str | None = None) -> np.ndarray:
        return last_states(*(self.scored if asset is None else self._causal_model(asset)), texts)

    def _causal_model(self, asset: str) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if asset not in self._loaded:
            folder, offline = self.asset(asset), {"local_files_only": True, "trust_remote_code": False}
            model = AutoModelForCausalLM.from_pretrained(folder, **offline).to(self.scored[0].device).eval()
            self._loaded[asset] = model, AutoTokenizer.from_pretrained(folder, **offline)
        return self._loaded[asset]
