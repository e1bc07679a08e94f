"""Training of a model's exits from text, start to end."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autocontrastive_gen.foundation.digests import fingerprint, seed_for
from autocontrastive_gen.foundation.environment import multiplies_bfloat16
from autocontrastive_gen.foundation.errors import FileError, InputError, mendable
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.modeling.heads import TRANSLATORS
from autocontrastive_gen.modeling.multi_exit import MultiExitModel
from autocontrastive_gen.training.cast import NormalEquations
from autocontrastive_gen.training.corpus import TokenBlocks, write_blocks
from autocontrastive_gen.training.exits import Exits
from autocontrastive_gen.training.generated import collect_generated
from autocontrastive_gen.training.loop import Loop
from autocontrastive_gen.training.quality import Quality, Validation, pooled_perplexity
from autocontrastive_gen.training.states import FrozenTrunk, StateCache, collect, source_of
from autocontrastive_gen.training.texts import Texts, by_domain, check_tokenizer, hold_out, stream
from autocontrastive_gen.training.train_settings import TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What training measured.

    >>> row = {"perplexity": 9.5, "agreement": 0.5, "entropy": 2.0, "tokens": 127}
    >>> Fitted(quality={"held-out": {"6": row}}, digests={6: "ab12"}).quality["held-out"]["6"]["perplexity"]
    9.5
    """

    quality: Quality
    """Domain -> exit ("original", "1", ...) -> perplexity, agreement, entropy, ... on held-out text."""
    digests: dict[int, str]
    """Layer -> sha256 of the weights of its exit."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """Rows of step, tokens, layer, loss and validation_perplexity; empty without gradient steps."""
    tokens: int = 0
    """Tokens of the training text, in whole blocks, ends of documents included."""


def fit_exits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts,
    validation: Iterable[str] | Mapping[str, Iterable[str]] | None = None,
    settings: TrainSettings | Mapping[str, Any] | None = None,
    *,
    tokens: int | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    trunk_states: Path | None = None,
    processes: Processes | None = None,
    **changes: Any,
) -> Fitted:
    """Train the exits of a decoder-only multi-exit ``model`` in place, and measure them on held-out text.

    The trunk stays unchanged, and its parameters no longer require gradients.

    Args:
        model: a model with exits, from ``AutoMultiExitModel``.
        tokenizer: the tokenizer that belongs to it.
        texts: documents to train on, or a function that returns them.
        validation: held-out texts, or a mapping from domains to them; by default about a tenth of ``texts``, up to
            ``validation_tokens``, is held out and not trained on.
        settings: how to train; by default ``TrainSettings()``.
        tokens: train on at most this many tokens of ``texts``; by default on all of them.
        seed: determines everything that is random; same seed, same weights.
        folder: where tokens, states of the trunk and checkpoints are kept. After a kill, the same call continues from
            there and ends with the same weights. By default a temporary folder.
        trunk_states: folder that keeps the states of the trunk for other calls with the same model, layers and texts,
            of which these may read more or fewer tokens. By default, every call runs the trunk.
        processes: the processes of a launcher, ``Processes.start()``; by default this one alone.
        **changes: fields of ``TrainSettings``, in place of those of ``settings``.

    Raises:
        InputError: a setting is out of range, there is too little text, a loss is not finite, or memory runs out; the
            message names the setting to change.

    >>> from transformers import AutoTokenizer
    >>> from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
    >>> exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
    >>> model = AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=exits)
    >>> fitted = fit_exits(model, AutoTokenizer.from_pretrained("gpt2"), texts, method="least-squares")
    >>> quality = fitted.quality["held-out"]
    >>> quality["original"]["agreement"]
    1.0
    >>> 0 < quality["2"]["agreement"] < 1
    True
    """
    if isinstance(settings, Mapping):
        settings = TrainSettings.read(settings)
    if not isinstance(settings, TrainSettings | None):
        raise TypeError(f"settings: give TrainSettings or a mapping, got a {type(settings).__name__}")
    settings = (settings or TrainSettings()).changed(changes)
    processes = processes or Processes()
    _check(model, tokens, folder, settings, processes)
    check_tokenizer(tokenizer)
    if settings.bf16 and not multiplies_bfloat16(model.device.type):
        log.info("bf16: this CPU multiplies faster in float32, so that is what it does")
        settings = settings.changed({"bf16": False})
    model.requires_grad_(False)
    exits = Exits(model)
    layers = tuple(sorted({*exits.layers, exits.final}))
    trunk = FrozenTrunk(model, layers, sharded=processes.sharded, keep=None if processes.sharded else trunk_states)
    others = stream(texts)
    with _working_folder(folder) as working, _out_of_memory_is_mendable(settings, exits.layers):
        run = _Run(exits, trunk, settings, tokens, seed, working, processes)
        if folder is not None:
            run.claim_folder()
        if validation is None:
            held, others = hold_out(others, tokenizer, settings.block_size, settings.validation_tokens)
            validation = {"held-out": held}
        size, wanted = settings.block_size, settings.validation_tokens
        held_out = Validation(trunk, tokenizer, by_domain(validation), size, wanted, processes)
        curve: list[dict[str, Any]] = []
        taken = 0
        if settings.method != "none" and exits.weights:
            blocks = run.blocks(others, tokenizer)
            taken = len(blocks) * blocks.block_size
            curve = run.train(blocks, held_out)
            model.eval()  # dropout of the trunk may have been on
            exits.write()
            exits.read()  # quality is that of the weights that are saved, in the model's dtype
        return Fitted(held_out.measure(exits, settings.bf16), exits.digests(), curve, taken)


def _check(model: Any, tokens: int | None, folder: Any, settings: TrainSettings, processes: Processes) -> None:
    if not isinstance(model, MultiExitModel) or not model.exit_layers:
        raise InputError(
            f"model: {type(model).__name__} has no exits to train; give it some: AutoMultiExitModel.from_model(model, "
            'MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(6,)))'
        )
    if hasattr(model, TRANSLATORS) and settings.method != "none":
        raise InputError(
            f"model: its exits are translators, as those of a tuned lens, and method={settings.method} fits casts and "
            "heads; use Trainer or fine_tune, whose loss goes through the final norm"
        )
    if model.config.is_encoder_decoder:
        raise InputError(
            f"model: {type(model).__name__} is an encoder-decoder, fit_exits trains decoder-only models on plain text; "
            "use autocontrastive_gen.training.fine_tune"
        )
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise InputError(f"tokens: {tokens!r} must be a whole number of at least 1, or None for all of the texts")
    context = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if context is not None and settings.block_size > context:
        raise InputError(f"block_size: {settings.block_size} is more than the {context} positions of the model")
    if folder is None and processes.world > 1:
        raise InputError(f"folder: {processes.world} processes need one that all of them see; give its path")


@contextmanager
def _working_folder(folder: Path | str | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="fit_exits-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    with mendable(f"folder: {folder}"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    yield Path(folder)


@contextmanager
def _out_of_memory_is_mendable(settings: TrainSettings, layers: tuple[int, ...]) -> Iterator[None]:
    """If memory runs out, say which settings to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        lines = str(error).splitlines() or ["no details"]
        raise InputError(
            f"out of memory ({lines[0]}); lower microbatch_size = {settings.microbatch_size}, block_size = "
            f"{settings.block_size}, train fewer exits at once ({list(layers)}), or use sampled_softmax"
        ) from error


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass(frozen=True)
class _Run:
    """One call of ``fit_exits``: what is trained, how, and where its state is kept."""

    exits: Exits
    trunk: FrozenTrunk
    settings: TrainSettings
    tokens: int | None
    seed: int
    folder: Path
    processes: Processes

    @property
    def kept(self) -> Kept:
        """The files of ``folder``."""
        return Kept(self.folder)

    def claim_folder(self) -> None:
        """Refuse a folder that holds the state of a run with other arguments; else record these."""
        config = self.exits.model.config
        mine = {
            **self.settings.as_dict(),
            "tokens": self.tokens,
            "seed": self.seed,
            "exits": list(self.exits.layers),
            "mode": self.exits.mode.name,
            "processes": self.processes.world,
            "model": f"{config.name_or_path or type(self.exits.model).__name__} {fingerprint(config.to_dict())[:8]}",
        }
        theirs = self.kept.read_json("run.json")
        self.processes.wait()
        if theirs is not None:
            changed = [key for key, value in mine.items() if fingerprint(theirs.get(key)) != fingerprint(value)]
            if changed:
                values = ", ".join(f"{key} was {theirs.get(key)!r} and is {mine[key]!r}" for key in changed)
                raise InputError(f"folder: {self.folder} holds a run with other arguments ({values}); give another one")
        elif self.processes.main:
            self.kept.clear()  # nobody knows which run it belongs to
            self.kept.write_json("run.json", mine)
        self.processes.wait()

    def blocks(self, texts: Iterator[str], tokenizer: Any) -> TokenBlocks:
        """The training text as blocks of tokens on disk."""
        if self.processes.main and not self.kept.find("blocks.int32"):
            with self.kept.write("blocks.int32") as temporary:
                write_blocks(temporary, texts, tokenizer, self.settings.block_size, self.tokens)
        self.processes.wait()
        if (path := self.kept.find("blocks.int32")) is None:
            raise FileError(f"folder: {self.folder} must be one that all {self.processes.world} processes see")
        blocks = TokenBlocks(path, self.settings.block_size)
        blocks.check(self.exits.vocabulary, self.settings.batch_size)
        return blocks

    def train(self, blocks: TokenBlocks, held_out: Validation) -> list[dict[str, Any]]:
        """Train the master weights and return the curve."""
        settings, exits = self.settings, self.exits
        cast = not settings.uses_gradients or settings.start == "cast"
        cache = None
        if settings.uses_gradients and settings.cache_states:
            layers, size = self.trunk.layers, blocks.block_size
            cache = StateCache(self.folder, layers, len(blocks), size, exits.width, self.processes)
        casts = self._collect(blocks, cache, cast)
        start = "cast" if cast else settings.start
        exits.start(casts, start, torch.Generator().manual_seed(seed_for(self.seed, "start")))
        if not settings.uses_gradients:
            return []
        trunk = FrozenTrunk(exits.model, self.trunk.layers, settings.trunk_dropout, self.trunk.sharded)

        def validate() -> dict[int, float]:
            quality = held_out.measure(exits, settings.bf16)
            return {layer: pooled_perplexity(quality, layer) for layer in exits.weights}

        loop = Loop(
            exits,
            source_of(trunk, blocks, cache),
            blocks,
            settings,
            seed=self.seed,
            processes=self.processes,
            kept=self.kept,
            validate=validate,
        )
        return loop.run()

    def _collect(self, blocks: TokenBlocks, cache: StateCache | None, cast: bool) -> dict[int, torch.Tensor]:
        """Fill the cache and fit the casts, in a single pass of the trunk if possible; layer -> cast (d, d)."""
        exits, fit = self.exits, self.settings.cast
        equations = NormalEquations(exits.layers, exits.width, exits.original.weight.device) if cast else None
        where = (self.trunk, blocks, self.processes, self.kept)
        given, generated = (None, equations) if fit.text == "generated" else (equations, None)
        if generated and self.trunk.sharded:
            raise InputError("cast: text = generated needs the whole trunk in each process; launch without FSDP")
        if cache or given:
            fit_blocks = max(1, fit.tokens // blocks.block_size)
            collect(*where, equations=given, fit_blocks=fit_blocks, cache=cache)
        if generated:
            collect_generated(*where, equations=generated, settings=fit, seed=self.seed)
        return equations.solve(fit.damping) if equations else {}
