"""Gradient training of exits on a frozen trunk, with the same result whether or not it is interrupted.

Everything random is a function of the seed and the step, so a run that continues from the last checkpoint takes the
same steps as one that was never interrupted. A step is split into microbatches of a fixed size, which the processes
share; each microbatch draws its negatives by its number, so the number of processes changes no result.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.training.corpus import TokenBlocks
from autocontrastive_gen.training.exits import Exits
from autocontrastive_gen.training.objective import (
    cross_entropy,
    distillation,
    over_sample,
    sample_vocabulary,
    sampled_cross_entropy,
    sampled_distillation,
)
from autocontrastive_gen.training.states import Source, States
from autocontrastive_gen.training.train_settings import TrainSettings

log = logging.getLogger(__name__)

CURVE_POINTS = 100
"""Points in a training curve, however many steps there are."""
CHECKPOINT = "checkpoint.safetensors"
DIVERGED = 1e100
"""A validation perplexity that only useless weights reach."""


class Loop:
    """AdamW on the exits' master weights.

    Args:
        exits: what is trained, in place.
        source: states of the training text.
        blocks: the training text.
        settings: how to train.
        seed: determines the order of the text, the negatives and the dropout.
        processes: the processes that share each step.
        kept: where the state is kept; training continues from the last one if there is any.
        validate: measures the exits; layer -> perplexity on held-out text.

    Raises:
        InputError: a step has too few microbatches for the processes.
    """

    def __init__(
        self,
        exits: Exits,
        source: Source,
        blocks: TokenBlocks,
        settings: TrainSettings,
        *,
        seed: int,
        processes: Processes,
        kept: Kept,
        validate: Callable[[], dict[int, float]],
    ) -> None:
        self.exits, self.source, self.blocks, self.settings = exits, source, blocks, settings
        self.seed, self.processes, self.kept, self.validate = seed, processes, kept, validate
        self.per_epoch = len(blocks) // settings.batch_size
        self.steps = settings.epochs * self.per_epoch
        self.microbatch_size = settings.microbatch_size or settings.batch_size
        self.microbatches = -(-settings.batch_size // self.microbatch_size)
        if processes.world > self.microbatches:
            raise InputError(
                f"microbatch_size = {settings.microbatch_size}: a step of {settings.batch_size} blocks makes "
                f"{self.microbatches} microbatches, too few for {processes.world} processes; lower it"
            )
        if processes.sharded and self.microbatches % processes.world:
            raise InputError(
                f"microbatch_size = {settings.microbatch_size}: a step of {settings.batch_size} blocks makes "
                f"{self.microbatches} microbatches; with FSDP their number must be a multiple of the "
                f"{processes.world} processes"
            )
        self.tokens_per_step = settings.batch_size * (blocks.block_size - 1)
        self.optimizer = torch.optim.AdamW(
            list(exits.weights.values()),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self._shuffled: tuple[int, Tensor] = (-1, torch.empty(0))
        self.step = 0
        self.curve: list[dict] = []
        self.recent = torch.zeros(len(exits.weights), dtype=torch.float64)
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.worse = math.inf, 0
        self.frequent = torch.empty(0, dtype=torch.int64)
        if settings.sampled_softmax:
            by_count = blocks.counts(exits.vocabulary).argsort(descending=True, stable=True)
            self.frequent = by_count[: settings.sampled_softmax.frequent]

    def run(self) -> list[dict]:
        """Train to the end, or until ``patience`` evaluations have brought no gain.

        Returns:
            The curve: rows of step, tokens, layer, loss and validation_perplexity.

        Raises:
            InputError: a loss or a perplexity is not finite; the message names exit, step and what to lower.
        """
        self._resume()
        every = max(1, self.steps // CURVE_POINTS)
        since = 0  # steps since the last point of the curve; every checkpoint is at a point
        progress = ProgressBar(total=self.steps, initial=self.step, desc="exits", unit=" steps")
        while self.step < self.steps and not self._exhausted():
            losses = self.take_step()
            self.recent += losses
            self.step, since = self.step + 1, since + 1
            progress.update()
            progress.set_postfix_str(self._named(losses))
            evaluated = self.step % self.settings.evaluate_every == 0 or self.step == self.steps
            if evaluated or self.step % every == 0:
                self._point(since, self._evaluate() if evaluated else {})
                since = 0
            if evaluated:
                self._save()
        progress.close()
        if self.best:
            for layer, weight in self.exits.weights.items():
                weight.data.copy_(self.best[f"best.{layer}"])
        return self.curve

    # one step ---------------------------------------------------------------------------------------------------
    def take_step(self) -> Tensor:
        """Take one step; returns the mean loss of each exit before it, float64 (exits,)."""
        weights = list(self.exits.weights.values())
        self.optimizer.zero_grad(set_to_none=False)
        sums = torch.zeros(len(weights), dtype=torch.float64, device=weights[0].device)
        for number in range(self.processes.rank, self.microbatches, self.processes.world):
            sums += self._microbatch(number)
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        self.processes.sum([sums, *gradients])
        norms = torch.stack(torch._foreach_norm(gradients)).double()
        losses = (sums / self.tokens_per_step).cpu()
        self._check(losses, norms.cpu())
        self.optimizer.param_groups[0]["lr"] = self._learning_rate()
        self.optimizer.step()
        return losses

    def _microbatch(self, number: int) -> Tensor:
        """Sum of each exit's losses over a microbatch (exits,); adds its share of the gradients to ``.grad``."""
        start = self.step % self.per_epoch * self.settings.batch_size
        batch = self._order(self.step // self.per_epoch)[start : start + self.settings.batch_size]
        indices = batch.split(self.microbatch_size)[number]
        generator = torch.Generator().manual_seed(seed_for(self.seed, "negatives", self.step, number))
        if self.settings.trunk_dropout:
            torch.manual_seed(seed_for(self.seed, "dropout", self.step, number))
        device = self.exits.original.weight.device
        labels = self.blocks[indices.numpy()][:, 1:].flatten().to(device)
        dtype = torch.bfloat16 if self.settings.bf16 else torch.float32
        states = {layer: x[:, :-1].flatten(0, 1).to(device, dtype) for layer, x in self.source(indices).items()}
        losses = []
        for loss in self._losses(states, labels, generator):
            (loss / self.tokens_per_step).backward()
            losses.append(loss.detach().double())
        return torch.stack(losses)

    def _losses(self, states: States, labels: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """The loss of one exit after another, so that the memory of one is free before the next."""
        settings, exits = self.settings, self.exits
        distil, final = settings.method == "distillation", states[exits.final]
        if settings.sampled_softmax is None:
            for layer in exits.weights:
                student, head = exits.student(layer, states[layer])
                if distil:
                    yield distillation(student, head, final, exits.original, settings.bf16)
                else:
                    yield cross_entropy(student, head, labels, settings.bf16)
            return
        sample = sample_vocabulary(
            labels, self.frequent, settings.sampled_softmax.negatives, exits.vocabulary, generator
        )
        original = exits.original.rows(sample.ids)
        with torch.no_grad():
            target = over_sample(final if distil else final[:0], original, sample)
        for layer in exits.weights:
            student, head = exits.student(layer, states[layer])
            rows = original if head is exits.original else head.rows(sample.ids)
            if distil:
                yield sampled_distillation(student, rows, sample, target)
            else:
                yield sampled_cross_entropy(student, rows, sample, labels)

    def _order(self, epoch: int) -> Tensor:
        """Block numbers of the epoch, shuffled."""
        if self._shuffled[0] != epoch:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "order", epoch))
            self._shuffled = epoch, torch.randperm(len(self.blocks), generator=generator)
        return self._shuffled[1]

    def _learning_rate(self) -> float:
        settings = self.settings
        if self.step < settings.warmup_steps:
            return settings.learning_rate * (self.step + 1) / (settings.warmup_steps + 1)
        done = (self.step - settings.warmup_steps) / max(1, self.steps - settings.warmup_steps)
        factors = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "constant": 1.0}
        return settings.learning_rate * factors[settings.schedule]

    def _check(self, losses: Tensor, norms: Tensor) -> None:
        for layer, loss, norm in zip(self.exits.weights, losses.tolist(), norms.tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._fail(layer, f"the loss is {loss} and its gradient's norm {norm}")

    def _fail(self, layer: int, what: str) -> NoReturn:
        kept = "there is no checkpoint yet"
        if path := self.kept.find(CHECKPOINT):
            kept = f"the state after step {_step_of(path)} is kept in {path}"
        raise InputError(
            f"exit {layer}, step {self.step}: {what}; {kept}; lower learning_rate = {self.settings.learning_rate}"
            + (" or set bf16 to false" if self.settings.bf16 else "")
        )

    # evaluation and state -----------------------------------------------------------------------------------------
    def _evaluate(self) -> dict[int, float]:
        perplexities = self.validate()
        for layer, value in perplexities.items():
            if not value < DIVERGED:  # before these weights replace the last good checkpoint
                self._fail(layer, f"the validation perplexity is {value:.3g}")
        log.info("step %d of %d: validation perplexity %s", self.step, self.steps, _readable(perplexities))
        if self.settings.patience is not None:
            loss = sum(math.log(value) for value in perplexities.values())
            self.worse = 0 if loss < self.best_loss else self.worse + 1
            if loss < self.best_loss:
                self.best_loss = loss
                self.best = {f"best.{k}": weight.detach().clone() for k, weight in self.exits.weights.items()}
        return perplexities

    def _named(self, losses: Tensor) -> str:
        pairs = zip(self.exits.weights, losses.tolist(), strict=True)
        return ", ".join(f"{layer}: {loss:.2f}" for layer, loss in pairs)

    def _exhausted(self) -> bool:
        return self.settings.patience is not None and self.worse >= self.settings.patience

    def _point(self, since: int, perplexities: dict[int, float]) -> None:
        for layer, loss in zip(self.exits.weights, (self.recent / since).tolist(), strict=True):
            row = {"step": self.step, "tokens": self.step * self.tokens_per_step, "layer": layer, "loss": loss}
            self.curve.append({**row, "validation_perplexity": perplexities.get(layer)})
        self.recent.zero_()

    def _save(self) -> None:
        if self.processes.main:
            state = {"step": self.step, "curve": self.curve, "best_loss": self.best_loss, "worse": self.worse}
            with self.kept.write(CHECKPOINT) as temporary:
                save_file({**self._tensors(), **self.best}, temporary, metadata={"state": json.dumps(state)})
        self.processes.wait()

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"weight.{layer}": weight.detach() for layer, weight in self.exits.weights.items()}
        for layer, weight in self.exits.weights.items():
            for name, value in self.optimizer.state[weight].items():
                tensors[f"{name}.{layer}"] = value
        return tensors

    def _resume(self) -> None:
        path = self.kept.find(CHECKPOINT)
        if path is None:
            return
        with safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        for layer, weight in self.exits.weights.items():
            weight.data.copy_(tensors[f"weight.{layer}"])
            self.optimizer.state[weight] = {
                name: tensors[f"{name}.{layer}"].to(weight.device if name != "step" else "cpu")
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
        self.step, self.curve = state["step"], state["curve"]
        self.best_loss, self.worse = state["best_loss"], state["worse"]
        self.best = {name: tensor for name, tensor in tensors.items() if name.startswith("best.")}
        log.info("resumed at step %d of %d", self.step, self.steps)


def _step_of(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["state"])["step"]


def _readable(perplexities: dict[int, float]) -> str:
    return ", ".join(f"{layer}: {value:.5g}" for layer, value in perplexities.items())
