"""The cost of a run before it runs: operations, bytes moved and memory of every cell, counted from the parameters.

Each part of a cell takes the larger of operations / (FLOP/s) and bytes / bandwidth, plus the time to launch the
kernels of its blocks; a cell takes the sum of its parts plus the start of a process. Expect errors of a factor of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from autocontrastive_gen.experiment.choices import combinations
from autocontrastive_gen.experiment.model_sizes import Shape, of_asset, task_size
from autocontrastive_gen.experiment.params import Params
from autocontrastive_gen.experiment.plan import DRAFTED_TEXTS, EXIT_ITEMS, EXIT_PROMPTS, drafted, grid_of
from autocontrastive_gen.experiment.rates import Rates, Work
from autocontrastive_gen.experiment.schema import Model
from autocontrastive_gen.experiment.settings import Setting
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling.contrast import resolve

START_S = 8.0
"""Imports and loading, per process."""
TOKENS_PER_WORD = 1.35
BYTES_PER_TOKEN = 4.5
"""Of English text."""
LOGITS_COPIES = 4
"""float32 copies of a step's logits that decoding holds at once: logits, log-probabilities, sorted, warped."""
_BYTES = {"float32": 4, "mixed": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Cost:
    """One cell: its parts, peak memory in bytes (of the GPU if there is one), and bytes that it leaves on disk."""

    stage: str
    cell: str
    parts: tuple[tuple[Work, bool], ...] = ()
    """Work, and whether its products are in 16 bits."""
    memory: float = 0.0
    disk: float = 0.0

    @property
    def work(self) -> Work:
        return sum((work for work, _ in self.parts), Work())

    def seconds(self, rates: Rates) -> float:
        return START_S + sum(rates.seconds(work, narrow) for work, narrow in self.parts)


def estimate(params: Params) -> list[Cost]:
    """Costs of all cells of a run, in the order of its stages."""
    costs = [_prepare(params)]
    encoder = of_asset(params, params.score.coherence_asset, encoder=True)
    assets = 4 * encoder.parameters
    for name in params.run.models:
        counter = Counter(params, name, of_asset(params, params.models[name].asset), encoder)
        assets += counter.weights
        costs += counter.costs()
    # the store of downloads, the copy of the run and DVC's copy
    costs.insert(0, Cost("fetch", "", disk=3 * assets))
    order = ["fetch", "prepare", "train", "select", "generate", "score", "benchmark", "analyse"]
    return sorted(costs, key=lambda cost: order.index(cost.stage))


def _prepare(params: Params) -> Cost:
    return Cost("prepare", "", disk=2 * BYTES_PER_TOKEN * params.prepare.training.tokens)


class Counter:
    """Counts the cells of one model."""

    def __init__(self, params: Params, name: str, shape: Shape, encoder: Shape):
        self.params, self.name, self.shape, self.encoder = params, name, shape, encoder
        self.model: Model = params.models[name]
        self.bytes = _BYTES[self.model.dtype]
        self.weights = shape.parameters * self.bytes
        self.narrow = self.model.dtype != "float32"
        self.prompt = params.prepare.prompt_words * TOKENS_PER_WORD
        self.length = self.prompt + params.generate.new_tokens

    @property
    def exit_size(self) -> int:
        """Weights of one exit."""
        sizes = {
            "LAYER_SPECIFIC_PROJECTION": self.shape.width * self.shape.vocabulary,
            "SHARED_PROJECTION_CAST_OUTPUTS": self.shape.width**2,
            "SHARED_PROJECTION_DIRECT": 0,
        }
        return sizes[self.model.mode]

    def costs(self) -> Iterator[Cost]:
        grid = grid_of(self.params)
        yield self.train()
        measured = grid.settings if self.params.select.benchmark_tasks else grid.all
        yield self.select(sum(self.candidates(measured, name) for name in grid.contrasts))
        yield from map(self.generate, grid.settings)
        yield self.score()
        yield from (self.benchmark(setting, number == 0) for number, setting in enumerate(grid.benchmark_settings))
        yield self.analyse()

    # what a model does ------------------------------------------------------------------------------------------
    def reading(self, tokens: float, length: float, heads: float, batch: float, layers: int | None = None) -> Work:
        """Read ``tokens`` in texts of ``length``, ``batch`` texts per pass, ``heads`` output matrices per token."""
        shape, depth = self.shape, layers or self.shape.layers
        passes = tokens / (length * batch)
        flops = tokens * (shape.trunk(length, depth) + heads * shape.head)
        per_pass = self.bytes * (depth * shape.block + heads * shape.width * shape.vocabulary)
        logits = 2 * 4 * heads * shape.vocabulary * tokens
        return Work(flops, passes * per_pass + logits, passes * depth)

    def exit_head(self) -> float:
        """Operations of one exit at one position."""
        cast = 2 * self.exit_size if self.model.mode == "SHARED_PROJECTION_CAST_OUTPUTS" else 0
        return self.shape.head + cast

    def layers_of(self, setting: Setting) -> int:
        upper = setting.exit or self.model.upper
        return upper if isinstance(upper, int) else self.shape.layers

    def decoding(self, prompts: int, new_tokens: int, batch_size: int, beams: int, layers: int) -> Work:
        """Continue prompts: the prompt at once, then token by token; contrast reads few rows of its lower exit."""
        shape, passes = self.shape, -(-prompts // batch_size)
        rows = prompts * beams
        context = self.prompt + new_tokens / 2
        prefill = self.reading(rows * self.prompt, self.prompt, 0, batch_size * beams, layers)
        flops = rows * new_tokens * (shape.trunk(context, layers) + shape.head)
        weights = self.bytes * (layers * shape.block + shape.width * shape.vocabulary)
        cache = 2 * layers * shape.kv_width * self.bytes * context * rows * new_tokens
        logits = LOGITS_COPIES * 4 * shape.vocabulary * rows * new_tokens
        # beams reorder the cache at every step: it is read and written once more
        moved = passes * new_tokens * weights + cache * (3 if beams > 1 else 1) + logits
        return prefill + Work(flops, moved, passes * new_tokens * layers)

    # cells -------------------------------------------------------------------------------------------------------
    def train(self) -> Cost:
        p, t, shape = self.params, self.params.train, self.shape
        exits, tokens = len(self.model.exits), self.params.prepare.training.tokens
        narrow = self.narrow or t.bf16
        parts: list[tuple[Work, bool]] = []
        trained = t.method != "none" and self.exit_size
        if trained:
            gradient = t.method != "least-squares"
            fitted = min(t.cast.tokens, tokens) if t.method == "least-squares" or t.start == "cast" else 0
            passes = (1 if t.cache_states else t.epochs) if gradient else 0
            batch = max(1, t.microbatch_size or t.batch_size)
            parts.append((self.reading(max(tokens * passes, fitted), t.block_size, 0, batch), self.narrow))
            # X'X and X'Y in float64, a product at half the speed of float32
            parts.append((Work(2 * fitted * exits * 4 * shape.width**2), False))
            if gradient:
                steps = tokens * t.epochs / (t.block_size * t.batch_size)
                parts.append((self.gradients(tokens * t.epochs), t.bf16))
                # AdamW reads weight, gradient and two moments and writes three of them
                parts.append((Work(moved=7 * 4 * exits * self.exit_size * steps, calls=exits * steps), False))
        measured = t.validation_tokens * len(p.run.domains)
        gradient_steps = tokens * t.epochs // (t.block_size * t.batch_size) if trained else 0
        times = 2 + gradient_steps // t.evaluate_every
        heads = Work(measured * (shape.head + exits * self.exit_head()))
        parts.append((self.reading(measured, t.block_size, 0, 1) + heads.times(times), narrow))
        state = 4 * exits * self.exit_size * (4 if trained and t.method != "least-squares" else 1)
        rows = t.block_size * (t.microbatch_size or t.batch_size)
        activations = 4 * rows * shape.width * (exits + 3) + 2**30
        cached = 2 * tokens * shape.width * (exits + 1) if trained and t.cache_states else 0
        # the run's exits and DVC's copy of them; while it trains, the checkpoint with AdamW's moments and the states
        disk = 2 * self.bytes * exits * self.exit_size + (12 * exits * self.exit_size if trained else 0) + cached
        return Cost("train", self.name, tuple(parts), self.weights + state + activations, disk)

    def candidates(self, settings: tuple[Setting, ...], contrast: str) -> int:
        """What select tries of a contrast: every open lower layer with every combination of chosen parameters."""
        entry, combined = self.params.contrasts[contrast], 0
        stated = {setting.lower for setting in settings if setting.contrast == contrast}
        if not stated:
            return 0
        open_ = None in stated and self.model.lower == "auto"
        for chosen in combinations(entry.choose):
            method = resolve({"name": entry.method, **entry.parameters, **chosen})
            layers = 1 if not method.takes_lower else len(self.model.exits) if open_ else len(stated)
            combined += layers if chosen or (open_ and method.takes_lower) else 0
        return combined

    def select(self, candidates: int) -> Cost:
        """Continue the validation prompts with every candidate, and once without contrast; answer validation items."""
        p, tasks = self.params, self.params.select.benchmark_tasks
        if not candidates and not tasks:
            return Cost("select", self.name, (), 0)
        exits, prompts = len(self.model.exits), p.prepare.validation_prompts * len(p.run.domains)
        one = self.decoding(prompts, p.select.new_tokens, prompts, 1, self.shape.layers)
        cache = 2 * self.shape.layers * self.shape.kv_width * self.bytes * self.length * prompts
        memory, work = self.weights + self.bytes * exits * self.exit_size + cache, one.times(1 + candidates)
        for task in tasks:  # the trunk runs once for all exits
            work += self.answers(task, p.prepare.benchmark_validation_items[task], 2 + exits, self.shape.layers)
        return Cost("select", self.name, ((work, self.narrow),), memory)

    def gradients(self, tokens: float) -> Work:
        """Forward and backward pass of all exits, over the whole vocabulary or a sample of it."""
        t, shape = self.params.train, self.shape
        sample = t.sampled_softmax
        rows = shape.vocabulary
        if sample:
            rows = min(
                rows, sample.frequent + sample.negatives + (t.microbatch_size or t.batch_size) * t.block_size / 3
            )
        head = 2 * shape.width * rows
        # a frozen head: logits and the gradient of the states; a trained one: logits and the gradient of the matrix
        products = 2 * head
        if self.model.mode == "SHARED_PROJECTION_CAST_OUTPUTS":
            products += 2 * 2 * shape.width**2
        teacher = head if t.method == "distillation" else 0
        if not sample:
            teacher *= len(self.model.exits)
        logits = 3 * 4 * rows * len(self.model.exits)
        return Work(tokens * (len(self.model.exits) * products + teacher), tokens * logits)

    def generate(self, setting: Setting) -> Cost:
        g, p, shape = self.params.generate, self.params, self.shape
        decoder = p.decoders[setting.decoder]
        beams = getattr(DECODERS.build(decoder.method, decoder.parameters), "num_beams", 1)
        layers = self.layers_of(setting)
        prompts = p.prompts().values()
        total, heads = sum(prompts), 2 if setting.contrast else 1
        parts = [(self.decoding(some, g.new_tokens, g.batch_size, beams, layers), self.narrow) for some in prompts]
        # then every text is read once, for its likelihood and the tokens that contrast changed
        noted = self.reading(total * self.length, self.length, 0, g.batch_size)
        parts.append((noted + Work(total * g.new_tokens * heads * self.exit_head(), calls=total), self.narrow))
        rows = min(max(prompts), g.batch_size) * beams
        cache = 2 * shape.layers * shape.kv_width * self.bytes * self.length * rows
        memory = self._loaded(setting) + cache + LOGITS_COPIES * 4 * rows * shape.vocabulary
        texts = 2 * 3 * BYTES_PER_TOKEN * total * self.length
        return Cost("generate", f"{self.name}-{setting.name}", tuple(parts), memory, texts)

    def _loaded(self, setting: Setting) -> float:
        """Bytes of the weights that a setting loads: all exits if it uses one."""
        uses = setting.contrast or setting.exit is not None or self.model.upper != "original"
        return self.weights + (self.bytes * len(self.model.exits) * self.exit_size if uses else 0)

    def score(self) -> Cost:
        p = self.params
        texts = sum(p.prompts().values())
        sentences = texts * (1 + len(p.run.settings))
        encoded = Work(sentences * self.length * self.encoder.trunk(self.length), calls=sentences / 8)
        parts = [(encoded, False)]
        if p.score.text_perplexity:
            parts.append((self.reading(texts * self.length, self.length, 1, p.generate.batch_size), self.narrow))
        if settings := drafted(p, self.name):  # the texts that show whether exits could draft, under every exit
            some = len(settings) * sum(min(count, DRAFTED_TEXTS) for count in p.prompts().values())
            exits = len(self.model.exits) * self.exit_head()
            read = self.reading(some * self.length, self.length, 0, p.generate.batch_size)
            parts.append(
                (read + Work(some * p.generate.new_tokens * exits, calls=some / p.generate.batch_size), self.narrow)
            )
        return Cost("score", self.name, tuple(parts), self.weights + 4 * self.encoder.parameters)

    def answers(self, task: str, items: float, heads: int, layers: int) -> Work:
        """Score the items of a task; logits are needed only for the answer, at most an eighth of a request.

        Args:
            layers: to run; none where the states that another setting has left are read.
        """
        tokens, length = self.requested(task, items), task_size(task)["tokens"]
        trunk = self.reading(tokens, length, 0, self.params.benchmark.batch_size, layers) if layers else Work()
        return trunk + Work(tokens / 8 * heads * self.shape.head)

    def requested(self, task: str, items: float) -> float:
        """Tokens of the requests of a task."""
        size = task_size(task)
        return items * size["requests"] * size["tokens"] * (1 + self.params.benchmark.num_fewshot)

    def benchmark(self, setting: Setting, first: bool) -> Cost:
        """Answer the items of all tasks; the first setting runs the trunk for all of them."""
        p, work, longest = self.params, Work(), 0
        layers = self.shape.layers if first else 0
        for task in p.run.tasks:
            longest = max(longest, task_size(task)["tokens"] * (1 + p.benchmark.num_fewshot))
            work += self.answers(task, self.items(task), 1 + bool(setting.contrast), layers)
        logits = 2 * 4 * p.benchmark.batch_size * longest * self.shape.vocabulary
        memory = self._loaded(setting) + logits * (1 + bool(setting.contrast))
        scored = sum(self.requested(task, self.items(task)) / 8 for task in p.run.tasks)
        disk = self.bytes * scored * self.shape.width * (1 + len(self.model.exits)) if first else 0  # the states
        return Cost("benchmark", f"{self.name}-{setting.name}", ((work, self.narrow),), memory, disk)

    def analyse(self) -> Cost:
        """Train one exit again and again, each time with texts and items; read answers under every exit once."""
        p, budgets, exits = self.params, self.params.analyse.training_budgets, len(self.model.exits)
        work, trained = Work(), self.train()
        if budgets:
            ways = 2 * budgets + 2
            some = EXIT_PROMPTS * len(p.run.domains)
            work += self.decoding(some, p.select.new_tokens, some, 1, self.shape.layers).times(ways)
            work += self.answers(p.run.tasks[0], EXIT_ITEMS, 2 * ways, self.shape.layers)
            # budgets are spaced evenly on a log scale: together about twice the largest, in two modes
            work += trained.work.times(2 * 2 / exits)
        for task in p.analyse.answers:
            work += self.answers(task, self.items(task), 1 + 2 * exits, self.shape.layers)
        if not work.flops:
            return Cost("analyse", self.name)
        return Cost("analyse", self.name, ((work, self.narrow),), trained.memory)

    def items(self, task: str) -> float:
        """Items of a task that benchmarks score."""
        p = self.params
        return min(p.prepare.benchmark_items.get(task, task_size(task)["items"]), p.benchmark.limit or math.inf)


def table(costs: list[Cost], rates: Rates) -> str:
    """A line per cell, per stage with several cells, and for the whole run, in one process on one device."""
    lines = [f"{'stage':10} {'cell':34} {'operations':>10} {'time':>9} {'memory':>9} {'disk':>9}"]
    for stage in dict.fromkeys(cost.stage for cost in costs):
        cells = [cost for cost in costs if cost.stage == stage]
        lines += [_line(stage, cost.cell, [cost], rates) for cost in cells]
        if len(cells) > 1:
            lines.append(_line(stage, f"all {len(cells)}", cells, rates))
    lines.append(_line("run", f"all {len(costs)}", costs, rates))
    speeds = f"{rates.float32:.2g} FLOP/s in float32, {rates.bfloat16:.2g} in bfloat16"
    lines.append(f"with {speeds} and {rates.bandwidth:.2g} bytes/s")
    return "\n".join(lines)


def _line(stage: str, cell: str, costs: list[Cost], rates: Rates) -> str:
    flops, seconds = sum(cost.work.flops for cost in costs), sum(cost.seconds(rates) for cost in costs)
    memory, disk = max(cost.memory for cost in costs), sum(cost.disk for cost in costs)
    hours, minutes = divmod(round(seconds / 60), 60)
    time = f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if not hours else f"{hours} h {minutes:02}"
    return f"{stage:10} {cell:34} {flops:10.2g} {time:>9} {memory / 2**30:5.1f} GiB {disk / 2**30:5.1f} GiB"
