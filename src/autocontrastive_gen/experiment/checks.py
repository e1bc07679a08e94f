"""Faults that involve several keys: undefined names, entries that a method refuses, layers without an exit.

The checks read the raw content, as far as its shape allows, so that these faults are reported together with those of
single values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
from typing import Any

from autocontrastive_gen.experiment.choices import MOST_CANDIDATES, choice_faults, choices_of, combinations, count
from autocontrastive_gen.experiment.paths import PUBLISHED, RULES, halfway
from autocontrastive_gen.experiment.schema import Prepare
from autocontrastive_gen.experiment.settings import RESERVED, Setting, parse_benchmark_setting, parse_setting
from autocontrastive_gen.foundation.errors import InputError, did_you_mean, shown
from autocontrastive_gen.foundation.named import Named, build
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling import contrast as contrasting


def cross_faults(content: dict, depths: Mapping[str, int] | None = None) -> list[str]:
    """Every fault that involves several keys, one line each.

    Args:
        depths: number of layers by model, once its files are there.
    """
    return list(_Checks(content, depths or {}).faults())


class _Checks:
    def __init__(self, content: dict, depths: Mapping[str, int]) -> None:
        self.content, self.depths = content, depths
        self.assets, self.models, self.domains = (self.get(key, dict) for key in ("assets", "models", "domains"))
        self.decoders, self.contrasts = self.get("decoders", dict), self.get("contrasts", dict)
        self.exits = {name: _layers(model) for name, model in self.models.items() if isinstance(model, dict)}

    def get(self, path: str, kind: type) -> Any:
        """The value under a dotted key; an empty value of type ``kind`` if it is absent or of another type.

        Keys of a mapping that are no text, which YAML allows, are left out; the schema reports them.
        """
        value: Any = self.content
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if kind is dict and isinstance(value, dict):
            return {key: entry for key, entry in value.items() if isinstance(key, str)}
        return value if isinstance(value, kind) else kind()

    def faults(self) -> Iterator[str]:
        yield from self.unknown_names()
        yield from self.repeated_names()
        yield from self.entries()
        yield from self.training_sources()
        yield from self.prompts_of_documents()
        yield from self.held_out_words()
        yield from self.streams()
        yield from self.examples()
        yield from self.published()
        yield from self.benchmark_tasks()
        yield from self.analysed()
        for name, exits in self.exits.items():
            if sorted(set(exits)) != exits:
                yield f"models.{name}.exits: {exits} must ascend without repetition"
            for key in ("upper", "lower"):
                layer = self.models[name].get(key)
                if isinstance(layer, int) and layer not in exits:
                    yield f"models.{name}.{key}: {layer} is not one of the exits {exits}"
        yield from self.settings("settings", lambda name: parse_setting(name, self.decoders, self.contrasts))
        yield from self.settings("benchmark_settings", lambda name: parse_benchmark_setting(name, self.contrasts))

    def settings(self, key: str, parse: Callable[[str], Setting]) -> Iterator[str]:
        for name in dict.fromkeys(name for name in self.get(f"run.{key}", list) if isinstance(name, str)):
            try:
                yield from (f"run.{key}: {fault}" for fault in self.setting_faults(parse(name)))
            except InputError as error:
                yield f"run.{key}: {error}"

    def setting_faults(self, setting: Setting) -> Iterator[str]:
        takes_lower = self.takes_lower(setting.contrast)
        if setting.lower is not None and takes_lower is False:
            yield f"{setting.name!r} names the lower layer {setting.lower}, but {setting.contrast} takes none"
        for model in self.get("run.models", list):
            exits = self.exits.get(model) if isinstance(model, str) else None
            if not exits:
                continue
            for layer in setting.layers:
                if layer not in exits:
                    yield f"{setting.name!r} asks for exit {layer}, but models.{model}.exits has {exits}"
            depth = self.depths.get(model)
            upper = setting.exit or self.models[model].get("upper", "original")
            lower = setting.lower or self.models[model].get("lower", "auto")
            if lower == "halfway" and depth and takes_lower and (lower := halfway(depth)) not in exits:
                half = f"the halfway layer {lower} of {depth}"
                yield f"{setting.name!r} asks for {half}, but models.{model}.exits has {exits}"
            upper = depth if upper == "original" else upper
            if takes_lower and isinstance(upper, int):
                if isinstance(lower, int) and lower >= upper or min(exits) >= upper:
                    yield f"{setting.name!r} leaves models.{model} no lower exit below layer {upper}; exits: {exits}"

    def takes_lower(self, name: str | None) -> bool | None:
        """Whether a contrast needs a lower layer; None if its entry is wrong, which is reported elsewhere."""
        entry = self.contrasts.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("method"), str):
            return None
        try:
            return any(contrasting.resolve(spec).takes_lower for spec in _specs(entry))
        except InputError:
            return None

    def entries(self) -> Iterator[str]:
        """Faults of the two catalogues, each with the key of its parameter."""
        for name, entry in self.decoders.items():
            if isinstance(entry, dict) and isinstance(entry.get("method"), str):
                yield from _named_faults(f"decoders.{name}", entry, DECODERS)
        for name, entry in self.contrasts.items():
            if name in RESERVED:
                yield f"contrasts.{name}: a contrast may not be called {name}, because names of settings use that word"
            if isinstance(entry, dict) and isinstance(entry.get("method"), str):
                yield from choice_faults(f"contrasts.{name}", entry)
                yield from self.too_many_candidates(name, entry)
                if ":" in entry["method"]:
                    yield from _function_faults(f"contrasts.{name}", entry)
                else:
                    yield from _named_faults(f"contrasts.{name}", entry, contrasting.REGISTRY)

    def too_many_candidates(self, name: str, entry: dict) -> Iterator[str]:
        """A choice among more candidates than ``select`` tries, by model."""
        combined = count(choices_of(entry))
        for model in self.get("run.models", list):
            exits = self.exits.get(model, []) if isinstance(model, str) else []
            open_ = exits and self.models[model].get("lower", "auto") == "auto" and self.takes_lower(name)
            layers = len(exits) if open_ else 1
            if combined > 1 and combined * layers > MOST_CANDIDATES:
                yield (
                    f"contrasts.{name}.choose: {entry['choose']} is not allowed: {combined} combinations times "
                    f"{layers} lower layers of models.{model} are {combined * layers} candidates, more than "
                    f"{MOST_CANDIDATES}; remove values, or state models.{model}.lower"
                )

    def training_sources(self) -> Iterator[str]:
        """Training sources whose text is for evaluation only."""
        for source in self.get("prepare.training.sources", list):
            if self.asset_of(source).get("evaluation_only"):
                yield (
                    f"prepare.training.sources: {source!r} reads the asset {self.domains[source]['asset']!r}, which is "
                    "marked evaluation_only and must never be trained on; name another source"
                )

    def prompts_of_documents(self) -> Iterator[str]:
        """Domains whose prompts begin with the document and yet are to be several per document."""
        for name, domain in self.domains.items():
            given = domain if isinstance(domain, dict) else {}
            most = given.get("prompts_per_document")
            if isinstance(most, int) and most > 1 and given.get("prompt_at") != "paragraph":
                yield (
                    f"domains.{name}.prompts_per_document: {most} needs prompt_at: paragraph; a document has one "
                    "beginning"
                )

    def held_out_words(self) -> Iterator[str]:
        """Prompts that are as long as the shortest document."""
        fields = Prepare.model_fields
        prompt, least = (
            self.get(f"prepare.{key}", int) or fields[key].default for key in ("prompt_words", "min_words")
        )
        if prompt >= least:
            yield (
                f"prepare.prompt_words: {prompt} is not allowed: it must be lower than prepare.min_words = {least}, or "
                "texts of that length have no human continuation"
            )

    def streams(self) -> Iterator[str]:
        """Uses of a corpus that is read over the network, beyond training on it."""
        streamed = [name for name in self.domains if self.asset_of(name).get("stream")]
        whole = {"run.domains": self.get("run.domains", list)}
        for task in self.get("run.tasks", list):
            if isinstance(task, str):
                whole[f"prepare.benchmark_sources.{task}"] = self.get(f"prepare.benchmark_sources.{task}", list)
        for key, names in whole.items():
            for name in names:
                if name in streamed:
                    yield (
                        f"{key}: {name!r} is not allowed: it is read over the network and never whole, so neither "
                        "prompts nor benchmark items can be drawn from it; name it in prepare.training.sources alone"
                    )
        for name in streamed:
            if where := self.domains[name].get("where"):
                yield f"domains.{name}.where: {where!r} is not allowed: a streamed corpus is read whole; leave it out"

    def examples(self) -> Iterator[str]:
        """More examples before an item than a task has other items."""
        shots, items = self.get("benchmark.num_fewshot", int), self.get("prepare.benchmark_items", dict)
        for task in self.get("run.tasks", list):
            count = items.get(task) if isinstance(task, str) else None
            if isinstance(count, int) and count <= shots:
                yield (
                    f"benchmark.num_fewshot: {shots} is not allowed: examples are other items of the same task, and "
                    f"prepare.benchmark_items.{task} = {count} leaves {count - 1}"
                )

    def asset_of(self, domain: Any) -> dict:
        """The entry of the asset that a domain reads; empty if it is not defined."""
        entry = self.domains.get(domain) if isinstance(domain, str) else None
        name = entry.get("asset") if isinstance(entry, dict) else None
        asset = self.assets.get(name) if isinstance(name, str) else None
        return asset if isinstance(asset, dict) else {}

    def benchmark_tasks(self) -> Iterator[str]:
        """Tasks that are to choose for the benchmarks and have no validation items."""
        counted = self.get("prepare.benchmark_validation_items", dict)
        for name in self.get("select.benchmark_tasks", list):
            if isinstance(name, str) and name not in counted:
                yield (
                    f"select.benchmark_tasks: {name!r} is not allowed: it has no validation items; give a task made "
                    "from held-out text their number under prepare.benchmark_validation_items"
                )

    def analysed(self) -> Iterator[str]:
        """Analyses of tasks that the run does not have."""
        tasks = self.get("run.tasks", list)
        for name in self.get("analyse.answers", list):
            if isinstance(name, str) and name not in tasks:
                yield f"analyse.answers: {name!r} is not one of run.tasks ({', '.join(map(str, tasks))})"

    def published(self) -> Iterator[str]:
        """A source of published values that does not exist."""
        name = self.get("report", dict).get("paper")
        known = sorted(path.stem for path in PUBLISHED.glob("*.yaml") if path.stem not in RULES)
        if isinstance(name, str) and name not in known:
            yield f"report.paper: {name!r} is not allowed: {PUBLISHED} has {', '.join(known) or 'no such file'}"

    def repeated_names(self) -> Iterator[str]:
        keys = [f"run.{key}" for key in ("models", "domains", "settings", "benchmark_settings", "tasks")]
        keys += ["select.benchmark_tasks", "analyse.answers", "prepare.training.sources"]
        keys += [f"prepare.benchmark_sources.{task}" for task in self.get("prepare.benchmark_sources", dict)]
        for key in keys:
            names = [name for name in self.get(key, list) if isinstance(name, str)]
            yield from (f"{key}: {name!r} is listed twice" for name in sorted(set(names)) if names.count(name) > 1)

    def unknown_names(self) -> Iterator[str]:
        uses = [
            ("run.models", self.get("run.models", list), self.models),
            ("run.domains", self.get("run.domains", list), self.domains),
            ("prepare.training.sources", self.get("prepare.training.sources", list), self.domains),
            *(
                (f"prepare.benchmark_sources.{task}", names, self.domains)
                for task, names in self.get("prepare.benchmark_sources", dict).items()
                if isinstance(names, list)
            ),
            ("score.coherence_asset", [self.get("score.coherence_asset", str)], self.assets),
            ("score.mauve_asset", [self.get("score.mauve_asset", str)], self.assets),
            ("prepare.bundle", [self.get("prepare.bundle", str)], self.assets),
        ]
        for section, entries in (("models", self.models), ("domains", self.domains)):
            for name, entry in entries.items():
                if isinstance(entry, dict):
                    uses.append((f"{section}.{name}.asset", [entry.get("asset")], self.assets))
        for key, names, known in uses:
            for name in names:
                if isinstance(name, str) and name and name not in known:
                    hint = did_you_mean(name, known) or f"known: {', '.join(sorted(known)) or 'none'}"
                    yield f"{key}: {shown(name)} is not defined; {hint}"


def _layers(model: dict) -> list[int]:
    exits = model.get("exits")
    return [layer for layer in exits if isinstance(layer, int)] if isinstance(exits, list) else []


def _specs(entry: dict) -> Iterator[dict[str, Any]]:
    """A contrast of the catalogue in the form that ``contrast_function`` takes, by combination of what is chosen."""
    fixed = {key: value for key, value in entry.items() if isinstance(key, str) and key not in ("method", "choose")}
    for combination in islice(combinations(choices_of(entry)), MOST_CANDIDATES):
        yield {"name": entry["method"], **fixed, **combination}


def _function_faults(key: str, entry: dict) -> Iterator[str]:
    """What is wrong with a function of the user: it is imported and tried on toy logits."""
    try:
        for spec in _specs(entry):
            contrasting.check(spec)
    except InputError as error:
        yield f"{key}.method: {shown(entry['method'])} is not allowed: {error}"


def _named_faults(key: str, entry: dict, registry) -> Iterator[str]:
    """Unknown parameters of a registered method, and values that are out of range, each with its own key."""
    try:
        cls: type[Named] = registry[entry["method"]]
    except InputError as error:
        yield f"{key}.method: {shown(entry['method'])} is not allowed: {error}"
        return
    taken = ("method", "choose") if registry is contrasting.REGISTRY else ("method",)
    found = [fault for name, value in entry.items() if name not in taken for fault in _faults(key, cls, name, value)]
    for name, values in choices_of(entry).items():
        found += [fault for value in values for fault in _faults(f"{key}.choose", cls, name, value)]
    yield from found
    if found:
        return
    for spec in _specs(entry):
        parameters = {name: value for name, value in spec.items() if name != "name"}
        try:
            build(cls, parameters)
        except InputError as error:  # parameters that exclude each other
            yield f"{key}: {parameters} is not allowed: {error}"
            return


def _faults(key: str, cls: type[Named], name: str, value: Any) -> Iterator[str]:
    """What is wrong with one parameter of a registered method."""
    known = {field.name: field.metadata.get("range") for field in fields(cls)}
    if name not in known:
        hint = did_you_mean(name, known) or f"known keys: {', '.join(['method', *known])}"
        yield f"{key}.{name}: unknown key (value {shown(value)}); {hint}"
    elif known[name] is not None:
        try:
            known[name].read(value)
        except (TypeError, ValueError):
            yield f"{key}.{name}: {shown(value)} is not allowed: must be {known[name]}"
