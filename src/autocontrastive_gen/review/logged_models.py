"""The models of a run as MLflow logs models: exits and settings, with a link to the base model.

``review/pyfunc_model.py`` is what ``mlflow.pyfunc.load_model`` opens them with.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import read_json, write_json, write_text
from autocontrastive_gen.modeling.exits_card import with_example

LOADER = "autocontrastive_gen.review.pyfunc_model"
CONTENT, EXITS = "model.json", "exits"
"""Files of a logged model: how each setting decodes, and the folder of the exits."""
EXAMPLE = "The museum was founded in 1892 by a group of teachers. Today"
_COPIED = 64 * 2**20
"""Exits of at most this many bytes are copied into the store; larger ones are linked."""


@dataclass(frozen=True)
class RunModel:
    """One model of a run: the base model, its exits, and every setting that generates."""

    name: str
    base: Path
    exits: Path
    content: dict[str, Any]
    """"dtype", "new_tokens", "seed", "batch_size" and, under "settings", a decoder and exits by name."""

    @classmethod
    def of(cls, paths: Paths, plan: dict[str, Any], name: str, root: Path) -> RunModel:
        """The model ``name`` of a finished run; ``root`` is the user's project, where the links lead."""
        cells = plan["generate"][name]
        common = next(iter(cells.values()))
        content = {key: common[key] for key in ("new_tokens", "seed", "batch_size")}
        content["dtype"] = common["model"]["dtype"]
        content["settings"] = {
            setting: {"decoder": cells[setting]["decoder"], **read_json(paths.resolved(name, setting))}
            for setting in plan["report"]["settings"]
        }
        base = paths.asset(common["model"]["asset"])
        return cls(name, root / base, root / paths.exits(name), content)

    @property
    def default(self) -> str:
        """The setting that generates unless another one is asked for: the first with a contrast, else the first."""
        settings = self.content["settings"]
        return next((name for name, setting in settings.items() if setting["contrast"]), next(iter(settings)))

    def save(self, folder: Path, **record: Any) -> None:
        """Write MLflow's form of the model to a folder that does not exist; ``record`` are fields of ``MLmodel``."""
        import mlflow
        import pandas as pd
        from mlflow.models import Model

        with tempfile.TemporaryDirectory() as data:
            content, place = dict(self.content), Path(data) / "model"
            place.mkdir()
            if sum(file.stat().st_size for file in self.exits.rglob("*") if file.is_file()) <= _COPIED:
                shutil.copytree(self.exits, place / EXITS)
                self._correct_card(place / EXITS / "README.md")
            else:
                content["exits"] = str(self.exits)
            write_json(place / CONTENT, content)
            mlflow.pyfunc.save_model(
                folder,
                loader_module=LOADER,
                data_path=place,
                mlflow_model=Model(**record),
                model_config={"base": str(self.base)},
                signature=self._signature(),
                input_example=(pd.DataFrame({"prompt": [EXAMPLE]}), {"setting": self.default}),
                pip_requirements=["autocontrastive-suite[pipeline]"],
            )

    def _correct_card(self, card: Path) -> None:
        """Let the example of the exits' card contrast with the layer that the run chose; training came before that."""
        lower = self.content["settings"][self.default]["lower"]
        if card.exists() and lower is not None:
            write_text(card, with_example(card.read_text(encoding="utf-8"), lower))

    def _signature(self):
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

        params = [
            ParamSpec("setting", "string", self.default),
            ParamSpec("new_tokens", "integer", self.content["new_tokens"]),
            ParamSpec("seed", "integer", self.content["seed"]),
        ]
        outputs = Schema([ColSpec("string", "continuation")])
        return ModelSignature(Schema([ColSpec("string", "prompt")]), outputs, ParamSchema(params))


def log_model(client: Any, run: Any, model: RunModel) -> None:
    """Log a model with a run of MLflow, once; what was interrupted is completed."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run_id, experiment = run.info.run_id, run.info.experiment_id
    own = f"source_run_id = '{run_id}' AND name = '{model.name}'"
    found = client.search_logged_models([experiment], filter_string=own)
    if found and found[0].status == LoggedModelStatus.READY:
        return
    if found:
        logged = found[0]
    else:
        params = {"default setting": model.default, "settings": ", ".join(model.content["settings"])}
        logged = client.create_logged_model(experiment, model.name, run_id, params=params, model_type="text generation")
    outputs = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        model.save(place, model_id=logged.model_id, run_id=run_id, artifact_path=logged.artifact_location)
        client.log_model_artifacts(logged.model_id, str(place))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
