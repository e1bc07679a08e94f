"""What ``mlflow.pyfunc.load_model`` makes of a logged model: it continues prompts under any setting of its run.

MLflow finds this module by the name that ``review/logged_models.py`` stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from autocontrastive_gen.foundation.errors import InputError, MissingFileError, did_you_mean
from autocontrastive_gen.foundation.files import read_json
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_model
from autocontrastive_gen.pipeline.entries import parameters_of
from autocontrastive_gen.review.logged_models import CONTENT, EXITS


class SettingsModel:
    """Generates with the exits and settings of a run; the model is loaded at the first prediction.

    Args:
        folder: the data of the logged model.
        base: folder or hub name of the base model.
    """

    def __init__(self, folder: Path, base: str) -> None:
        self.content = read_json(folder / CONTENT)
        self._exits = Path(self.content.get("exits", folder / EXITS))
        self._base = base
        self._loaded: tuple[Any, Any] | None = None

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Continue each prompt, or list of prompts, of the column "prompt"; the result has one column, "continuation".

        Args:
            params: "setting", a name of the run's settings; "new_tokens", the length of each continuation; "seed".

        Raises:
            InputError: the run has no such setting, ``new_tokens`` is below 1, or as ``generate_texts``.
            MissingFileError: the base model or the exits are not where the run had them.
        """
        prompts = [{"id": str(i), "prompt": prompt} for i, prompt in enumerate(model_input["prompt"].explode())]
        chosen = {"new_tokens": self.content["new_tokens"], "seed": self.content["seed"], **(params or {})}
        if int(chosen["new_tokens"]) < 1:
            raise InputError(f"new_tokens: {chosen['new_tokens']} is not allowed; allowed: 1 or more")
        setting = self._setting(chosen.get("setting"))
        model, tokenizer = self._model()
        decoder = DECODERS.build(setting["decoder"]["method"], parameters_of(setting["decoder"]))
        with model.set_exits(**exit_fields(setting)):
            rows = generate_texts(
                model,
                tokenizer,
                prompts,
                decoder,
                int(chosen["new_tokens"]),
                int(chosen["seed"]),
                self.content["batch_size"],
            )
        return pd.DataFrame({"continuation": [row["continuation"] for row in rows]})

    def _setting(self, name: str | None) -> Mapping[str, Any]:
        known = self.content["settings"]
        if name not in known:
            hint = " ".join(filter(None, (did_you_mean(name, known), f"it has {', '.join(known)}")))
            raise InputError(f"setting: the run has no {name!r}; {hint}")
        return known[name]

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._require(self._base, "mlflow.pyfunc.load_model(uri, model_config={'base': ...}) takes another place")
            self._require(self._exits, "`dvc pull` in the project of the run restores them")
            self._loaded = load_model(self._base, self._exits, self.content["dtype"], {"use_original_head": True})
        return self._loaded

    @staticmethod
    def _require(place: Path | str, remedy: str) -> None:
        if Path(place).is_absolute() and not Path(place).exists():
            raise MissingFileError(f"{place} is not there, where the logged model has a part of it; {remedy}")


def _load_pyfunc(path: str, model_config: Mapping[str, Any]) -> SettingsModel:
    """The entry point that MLflow calls; ``model_config`` is that of the logged model, or the caller's."""
    return SettingsModel(Path(path), model_config["base"])
