"""Training of a model's exits from text, start to end: what the train stage runs, for use from Python too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from autocontrastive_gen.experiment.params import Train
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.training.cast import NormalEquations
from autocontrastive_gen.training.corpus import TokenBlocks, write_blocks
from autocontrastive_gen.training.exits import Exits
from autocontrastive_gen.training.generated import collect_generated
from autocontrastive_gen.training.loop import Loop
from autocontrastive_gen.training.quality import Quality, Validation, pooled_perplexity
from autocontrastive_gen.training.states import StateCache, Trunk, collect, source_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What training leaves beside the weights: the curve (rows of curves.csv), quality by exit, digests of weights."""

    quality: Quality
    digests: dict[int, str]
    curve: list[dict] = field(default_factory=list)
    tokens: int = 0
    """Tokens of the training text, in whole blocks, ends of documents included."""


def fit_exits(
    model,
    tokenizer,
    texts: Callable[[], Iterable[str]],
    validation: Mapping[str, Iterable[str]],
    settings: Train,
    *,
    tokens: int,
    seed: int,
    folder: Path,
    processes: Processes | None = None,
) -> Fitted:
    """Train the exits of a multi-exit ``model`` in place on at most ``tokens`` tokens of ``texts()``; measure them.

    ``validation`` holds held-out texts by domain. ``folder`` keeps blocks, states and checkpoints: a run that was
    killed goes on from there, to the same weights; runs with other settings must not share it. The trunk stays as it
    is. ValueError says which setting to change where the text is too small, a loss is not finite or memory ends.
    """
    processes = processes or Processes()
    model.requires_grad_(False)
    exits = Exits(model)
    trunk = Trunk(model, tuple(sorted({*exits.layers, exits.final})), sharded=processes.sharded)
    try:
        held_out = Validation(trunk, tokenizer, validation, settings.block_size, settings.validation_tokens, processes)
        curve: list[dict] = []
        taken = 0
        if settings.method != "none" and exits.weights:
            blocks = _blocks(folder, texts, tokenizer, settings, tokens, exits.vocabulary, processes)
            taken = len(blocks) * blocks.block_size
            curve = _train(exits, trunk, blocks, held_out, settings, seed, folder, processes)
            model.eval()  # dropout of the trunk may have been on
            exits.write()
            exits.read()  # quality is that of the weights that are saved, in the model's dtype
        return Fitted(held_out.measure(exits, settings.bf16), exits.digests(), curve, taken)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        lines = str(error).splitlines() or ["no details"]
        raise InputError(
            f"out of memory ({lines[0]}); lower train.microbatch_size = {settings.microbatch_size}, train.block_size = "
            f"{settings.block_size}, train fewer exits at once ({list(exits.layers)}), or use train.sampled_softmax"
        ) from error


def _blocks(folder, texts, tokenizer, settings, tokens, vocabulary, processes) -> TokenBlocks:
    path = folder / "blocks.int32"
    if processes.main and not path.exists():
        write_blocks(path, texts(), tokenizer, settings.block_size, tokens)
    processes.wait()
    blocks = TokenBlocks(path, settings.block_size)
    blocks.check(vocabulary, settings.batch_size)
    return blocks


def _train(exits, trunk, blocks, held_out, settings: Train, seed, folder, processes) -> list[dict]:
    gradient = settings.method != "least-squares"
    if settings.trunk_dropout and settings.cache_states and gradient:
        raise InputError(
            "train.cache_states: true keeps the states of a trunk without dropout; set it to false with "
            "train.trunk_dropout"
        )
    device = exits.original.weight.device
    cast = not gradient or settings.start == "cast"
    equations = NormalEquations(exits.layers, exits.width, device) if cast else None
    cache = None
    if gradient and settings.cache_states:
        cache = StateCache(folder, trunk.layers, len(blocks), blocks.block_size, exits.width, processes)
    generates = cast and settings.cast.text == "generated"
    if generates and trunk.sharded:
        raise InputError("train.cast.text: generated needs the trunk whole in each process; launch without FSDP")
    given = None if generates else equations
    if cache or given:
        fit_blocks = max(1, settings.cast.tokens // blocks.block_size)
        collect(trunk, blocks, processes, folder, equations=given, fit_blocks=fit_blocks, cache=cache)
    if generates:
        collect_generated(trunk, blocks, processes, folder, equations=equations, settings=settings.cast, seed=seed)
    generator = torch.Generator().manual_seed(seed_for(seed, "start"))
    exits.start(equations.solve(settings.cast.damping) if cast else {}, "cast" if cast else settings.start, generator)
    if not gradient:
        return []

    def validate() -> dict[int, float]:
        quality = held_out.measure(exits, settings.bf16)
        return {layer: pooled_perplexity(quality, layer) for layer in exits.weights}

    source = source_of(Trunk(exits.model, trunk.layers, settings.trunk_dropout, trunk.sharded), blocks, cache)
    loop = Loop(
        exits,
        source,
        blocks,
        settings,
        seed=seed,
        processes=processes,
        checkpoint=folder / "checkpoint.safetensors",
        validate=validate,
    )
    return loop.run()


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
