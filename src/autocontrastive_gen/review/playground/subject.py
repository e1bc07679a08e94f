"""What the playground opens: a model with exits, and the settings, prompts and encoder of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.errors import InputError, MissingFileError, did_you_mean
from autocontrastive_gen.foundation.files import read_jsonl
from autocontrastive_gen.foundation.named import describe
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling.layers import ORIGINAL, late_layer
from autocontrastive_gen.modeling.method import METHODS
from autocontrastive_gen.modeling.tokenizer import load_tokenizer
from autocontrastive_gen.pipeline.cell_model import exit_fields, read_resolved
from autocontrastive_gen.pipeline.precision import MIXED, speed_up, state_type
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.samples import showable

PROMPTS = (
    "The museum was founded in 1892 by a group of teachers who wanted to show the history of the region. Today the "
    "collection includes",
    "The best way to learn a language is",
    "When the ship reached the harbour, the captain told the crew that",
    "In the last ten years, scientists have found that sleep",
)
PROMPTS_PER_DOMAIN = 4


@dataclass
class Subject:
    """A model and what the page offers with it.

    Args:
        model: a decoder-only multi-exit model, at its original head.
        title: what the page calls it.
        exits: where its exits come from, in words.
        settings: named settings to start from, as ``TrialSetting.read`` takes them.
        prompts: (where a prompt comes from, its text).
        encoder: a sentence encoder for the coherence, if there is one (``load_encoder``).
    """

    model: Any
    tokenizer: Any
    title: str
    exits: str
    settings: dict[str, dict[str, Any]]
    prompts: list[tuple[str, str]] = field(default_factory=lambda: [("Example", text) for text in PROMPTS])
    encoder: Any = None

    def described(self) -> dict[str, Any]:
        """What the page needs to know, as JSON."""
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return {
            "title": self.title,
            "exits": self.exits,
            "layers": self.model.num_layers,
            "exitLayers": list(self.model.exit_layers),
            "room": room,
            "coherence": self.encoder is not None,
            "settings": {name: _brief(setting) for name, setting in self.settings.items()},
            "prompts": [{"from": where, "text": text} for where, text in self.prompts],
            "decoders": {name: _parameters(DECODERS[name]) for name in DECODERS},
            "contrasts": {
                name: {"takesLower": _takes_lower(name), "parameters": _parameters(METHODS[name])} for name in METHODS
            },
        }


def subject_of_run(profile: str, name: str | None = None) -> Subject:
    """The model of a finished run with the trained exits, settings, prompts and encoder.

    Args:
        name: key of the model in the run's parameters; by default its first one.

    Raises:
        InputError: the run has no such model.
        MissingFileError: a stage that the playground reads from has not run.
    """
    paths, plan = Paths(profile), read_plan(profile)
    models = plan["generate"]
    name = name or next(iter(models))
    if name not in models:
        raise InputError(f"{name!r} is not a model of the run {profile}; {did_you_mean(name, models) or list(models)}")
    cells = models[name]
    runtime = next(iter(cells.values()))["model"]
    for path, stage in ((paths.asset(runtime["asset"]), "fetch"), (paths.exits(name), f"train@{name}")):
        if not path.exists():
            raise MissingFileError(f"{path}: the run is not finished; `dvc repro {stage}` makes it")
    model, tokenizer = load(paths.asset(runtime["asset"]), paths.exits(name), runtime["dtype"])
    settings, report = {}, plan["report"]
    for setting in report["settings"]:
        cell = cells[setting]
        exits = exit_fields(read_resolved(paths, name, setting))
        if _is_known(exits):
            settings[setting] = {"decoder": cell["decoder"], "exits": _selecting(exits)}
    trained = ", ".join(map(str, model.exit_layers))
    return Subject(
        model,
        tokenizer,
        f"{name} of the run {profile}",
        f"exits at layers {trained}, trained by the run",
        settings,
        [*_prompts_of(Results(paths, report)), *(("Example", text) for text in PROMPTS)],
        encoder_of(profile, report["coherence_asset"]),
    )


def subject_of_model(source: str | Path, exits: str | Path | None = None, encoder: Any = None) -> Subject:
    """Any model of transformers.

    Args:
        source: a folder or a name on the hub.
        exits: a folder of trained exits, or a name on the hub; without it, those of the checkpoint, or else the
            model's own head reads every layer.
        encoder: as in ``Subject``.

    Raises:
        InputError, FileError: the model or the exits cannot be loaded.
    """
    model, tokenizer = load(source, exits, MIXED)
    what = f"exits of {Path(exits or source).name} at layers {', '.join(map(str, model.exit_layers))}"
    if model.projection_mode.name == "SHARED_PROJECTION_DIRECT":
        what = "untrained: the model's own head reads every layer"
    return Subject(model, tokenizer, Path(source).name, what, first_settings(model), encoder=encoder)


def load(source: str | Path, exits: str | Path | None, dtype: str):
    """A model at its original head, with stored exits or with its own head at every layer, and its tokenizer."""
    from autocontrastive_gen.foundation.processes import Processes
    from autocontrastive_gen.inspection.exit_logits import with_exits
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel

    tokenizer = load_tokenizer(source)
    model: Any = with_exits(AutoMultiExitModel.from_pretrained(source, exits=exits, dtype=state_type(dtype)))
    if model.config.is_encoder_decoder:
        raise InputError(f"{source}: is an encoder-decoder; the playground continues prompts with decoder-only models")
    model = model.to(Processes.start().device).eval()
    speed_up(model, dtype)
    return model, tokenizer


def first_settings(model) -> dict[str, dict[str, Any]]:
    """Settings to start from where no run names any: greedy search, and a contrast with a layer near the top."""
    lower = late_layer((layer for layer in model.exit_layers if layer < model.num_layers), model.num_layers)
    settings: dict[str, dict[str, Any]] = {"greedy": {}}
    if lower is not None:
        contrast = {"contrast_layer_indices": [ORIGINAL, lower], "contrast_function": {"name": "acd", "alpha": 0.1}}
        settings |= {
            f"greedy-acd{lower}": {"exits": contrast},
            "top-p": {"decoder": {"method": "top-p"}},
            f"top-p-acd{lower}": {"decoder": {"method": "top-p"}, "exits": contrast},
        }
    return settings


def encoder_of(profile: str, asset: str) -> Any:
    """The encoder that a run has fetched, or None."""
    from autocontrastive_gen.evaluation.encoders import load_encoder

    folder = Paths(profile).asset(asset)
    return load_encoder(folder) if folder.exists() else None


def _prompts_of(results: Results) -> list[tuple[str, str]]:
    """The first prompts of each domain whose text may be shown, where ``prepare`` has run."""
    found = []
    for domain in showable(results):
        path = results.paths.prompts(domain)
        rows = read_jsonl(path)[:PROMPTS_PER_DOMAIN] if path.exists() else []
        found += [(results.domains[domain]["title"], row["prompt"]) for row in rows]
    return found


def _is_known(fields: Mapping[str, Any]) -> bool:
    """Whether a trial may name the contrast: one of the library's, and not a function of the user's."""
    return "contrast_function" not in fields or fields["contrast_function"]["name"] in METHODS


def _selecting(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "use_original_head"}


def _brief(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A setting without the parameters that have their default values, as the page states it."""
    given = setting.get("decoder", {"method": "greedy"})
    decoder = {"method": given["method"], **_beyond_default(DECODERS[given["method"]], given)}
    exits = dict(setting.get("exits", {}))
    if spec := exits.get("contrast_function"):
        exits["contrast_layer_indices"] = list(exits["contrast_layer_indices"])
        exits["contrast_function"] = {"name": spec["name"], **_beyond_default(METHODS[spec["name"]], spec)}
    return {"decoder": decoder, "exits": exits}


def _beyond_default(cls, given: Mapping[str, Any]) -> dict[str, Any]:
    standard = {each["name"]: each["default"] for each in _parameters(cls)}
    return {name: given[name] for name in standard if name in given and given[name] != standard[name]}


def _takes_lower(name: str) -> bool:
    return METHODS.build(name, {}).takes_lower


def _parameters(cls) -> list[dict[str, Any]]:
    ranges = {each.name: each.metadata["range"] for each in fields(cls) if "range" in each.metadata}
    described = []
    for name, default, allowed, help in describe(cls):
        choices = list(ranges[name].choices) if ranges[name].kind is str and not ranges[name].many else []
        default = list(default) if isinstance(default, tuple) else default
        described.append({"name": name, "default": default, "allowed": allowed, "choices": choices, "help": help})
    return described
