"""What contrast changes in the answers to benchmark items, token by token.

Of an item with one answer, such as the last word of a passage, this reads the first choice of the model, of each exit
and of the contrast with each exit. Of a multiple-choice item it reads how probable each answer is, and how many of its
tokens are plausible, which are the only ones that contrast can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.evaluation.answer_kinds import RIGHT, is_stop_word, kind_of
from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.generation.batches import pad, pad_token
from autocontrastive_gen.modeling.layers import ORIGINAL


@dataclass(frozen=True)
class Answer:
    """One answer under one view."""

    log_probability: float
    """Sum over its tokens, in nats."""
    first: int
    """The first choice at its first token."""
    starts: bool
    """Whether that is its first token."""
    matches: bool
    """Whether each of its tokens is the first choice, as lm-eval's accuracy of single answers wants."""
    filtered: bool
    """The same if the first choice at the first token may not be a stop word."""
    plausible: int
    """How many of its tokens have at least alpha times the highest probability under the first view."""
    tokens: int


class AnswerLM(MultiExitLM):
    """Reads every answer under every view in one pass, and scores it under the model's own head.

    Args:
        views: {name: fields of ``MultiExitConfiguration``}; the first one is the model's own head.
        alpha: of the plausible set.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, views: Mapping[str, dict], alpha: float) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self.views, self.alpha = views, alpha
        self.read: dict[tuple[str, str], dict[str, Answer]] = {}
        """{(context, continuation): {view: answer}}."""
        stops = [token for token in range(len(tokenizer)) if is_stop_word(tokenizer.decode([token]))]
        self._stops = torch.tensor(stops, device=self.device)

    def _loglikelihood_tokens(self, requests: list, disable_tqdm: bool = False, override_bs: int | None = None) -> list:
        if not all(key for key, _, _ in requests):
            raise InputError("answers: tasks of rolling log-likelihood have no answers to compare")
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        bar = ProgressBar(total=len(requests), desc="answers", disable=disable_tqdm or self.rank > 0)
        for start in range(0, len(order), self.batch_size):
            batch = [requests[i] for i in order[start : start + self.batch_size]]
            for (key, _, _), found in zip(batch, self._read([(c, a) for _, c, a in batch]), strict=True):
                self.read[key] = found
                bar.update()
        bar.close()
        first = next(iter(self.views))
        answers = [self.read[key][first] for key, _, _ in requests]
        return [(answer.log_probability, answer.matches) for answer in answers]

    @torch.inference_mode()
    def _read(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[dict[str, Answer]]:
        """The answers of a batch of (context, answer) under every view."""
        texts = [[*context, *answer[:-1]][-self.max_length :] for context, answer in pairs]
        ids, mask = pad(texts, pad_token(self.tokenizer), "right", self.device)
        rows = torch.tensor([row for row, (_, answer) in enumerate(pairs) for _ in answer], device=ids.device)
        ends = [(len(text) - len(answer), len(text)) for text, (_, answer) in zip(texts, pairs, strict=True)]
        columns = torch.tensor([i for end in ends for i in range(*end)], device=ids.device)
        states = self.model.exit_states(ids, mask, (*self.model.exit_layers, ORIGINAL))
        states = states.map(lambda state: state[rows, columns])
        answers = [torch.tensor(answer, device=ids.device) for _, answer in pairs]
        lengths, found = [len(answer) for answer in answers], [{} for _ in pairs]
        for view, fields in self.views.items():
            with self.model.set_exits(**fields):
                log_probs = self.model.combined(states).log_softmax(-1, dtype=torch.float32)  # (rows, V)
            if not found[0]:  # the model's own head comes first
                limits = (log_probs.amax(-1) + math.log(self.alpha)).split(lengths)
            for each, part, tokens, limit in zip(found, log_probs.split(lengths), answers, limits, strict=True):
                each[view] = self._answer(part, tokens, limit)
        return found

    def _answer(self, log_probs: Tensor, tokens: Tensor, limit: Tensor) -> Answer:
        """From log-probabilities (T, V), the tokens (T,), and the least log-probability (T,) of a plausible token."""
        of_tokens, matches = log_probs.gather(-1, tokens[:, None])[:, 0], log_probs.argmax(-1) == tokens
        allowed = log_probs[0].index_fill(0, self._stops, -torch.inf).argmax()
        return Answer(
            float(of_tokens.sum()),
            int(log_probs[0].argmax()),
            bool(matches[0]),
            bool(matches.all()),
            bool(allowed == tokens[0]) and bool(matches[1:].all()),
            int((of_tokens >= limit).sum()),
            len(tokens),
        )


def rows_of(lm: AnswerLM, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Rows of ``answer_kinds.COLUMNS``, in the order of the items.

    Args:
        lm: what has read the tasks.
        samples: of its evaluation, by task.
    """
    for task, items in samples.items():
        for number, sample in enumerate(sorted(items, key=lambda sample: sample["doc_id"])):
            doc = sample["doc"] if isinstance(sample["doc"], dict) else {}
            identity = doc.get("id", number)
            names = {"task": task, "id": identity, "document": doc.get("document", identity)}
            pairs = [tuple(pair) for pair in sample["arguments"]]
            for view in lm.views:
                answers = [lm.read[pair][view] for pair in pairs]
                entry = _single(lm, pairs[0][0], answers[0]) if len(answers) == 1 else _choice(task, sample, answers)
                yield {**names, "view": view, **entry}


def _single(lm: AnswerLM, context: str, answer: Answer) -> dict[str, Any]:
    kind = RIGHT if answer.starts else kind_of(lm.tokenizer.decode([answer.first]), context)
    return {"right": int(answer.matches), "kind": kind, "filtered": int(answer.filtered)}


def _choice(task: str, sample: Mapping[str, Any], answers: Sequence[Answer]) -> dict[str, Any]:
    if not str(sample["target"]).isdigit():
        raise InputError(f"answers: {task} does not say which of its answers is right; remove it from analyse.answers")
    gold, scores = int(sample["target"]), [answer.log_probability for answer in answers]
    margin = scores[gold] - max(score for i, score in enumerate(scores) if i != gold)
    plausible = sum(answer.plausible for answer in answers) / sum(answer.tokens for answer in answers)
    right = int(max(range(len(scores)), key=scores.__getitem__) == gold)
    return {"right": right, "margin": round(margin, 6), "plausible": round(plausible, 6)}
