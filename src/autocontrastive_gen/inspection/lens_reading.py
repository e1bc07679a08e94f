"""The lens: one pass over a text, and what every layer and contrast says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.inspection.exit_logits import has_own_head, head_of, layers_to_read, wide_logits, with_exits
from autocontrastive_gen.inspection.layer_measures import MEASURES, NO_TOKEN, OF_SCORES, measured
from autocontrastive_gen.inspection.lens_contrasts import Fields, named_contrasts
from autocontrastive_gen.inspection.lens_view import Lens, PlausibleSet, Row
from autocontrastive_gen.modeling.exit_states import ExitStates
from autocontrastive_gen.modeling.inputs import explained
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.multi_exit import MultiExitModel

AT_ONCE = 1 << 22
"""Logits per layer that are held at once, whatever the length of the text: 16 MiB in float32."""
SHOWN = 10
"""Tokens kept per layer and position."""
SET_SHOWN = 20
"""Tokens kept of each plausible set, which may be as large as the vocabulary."""


def lens(
    model: Any,
    tokenizer: Any,
    text: str | Sequence[int],
    *,
    layers: Sequence[Exit] | str | None = None,
    contrasts: Any = (),
    lower: int | None = None,
    skip: int = 0,
    source: str | None = None,
    title: str | None = None,
) -> Lens:
    """What every layer would say next along a text, and how it compares with the last layer (a "logit lens").

    The model runs once. Logits are computed in float32, layer by layer and some positions at a time, so that they take
    no more memory for a long text or a deep model.

    Args:
        model: a multi-exit model, or any language model of transformers, whose own head then reads every layer
            (nostalgebraist 2020; casts: Din et al. 2023). Its setting and its outputs stay the same.
        tokenizer: the tokenizer that belongs to the model.
        text: a text, or its token ids.
        layers: layers to read; by default those with an exit, or every layer of a model without exits. ``"all"``: every
            layer, by the model's own head where it has no exit. The last layer is always read.
        contrasts: a list of contrasts whose choice is shown as well, each a name (``"dola"``, with a lower layer
            ``"acd25"``), or anything that ``contrast_function`` takes; a mapping may also hold ``lower`` and ``upper``.
            A mapping of labels to contrasts names the rows.
        lower: the lower layer of contrasts that need one and do not name it; by default the exit nearest to five sixths
            of the depth.
        skip: number of positions at the beginning that the model reads and the lens does not show.
        source: the encoder's text, for encoder-decoder models; ``text`` is then what the decoder says.
        title: what the page is called; by default the name of the model.

    Raises:
        InputError: there is nothing to show, the text is longer than the model's window, or a layer or contrast does
            not exist.
        TypeError: ``model`` is no model of transformers.

    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> model, tokenizer = AutoModelForCausalLM.from_pretrained("gpt2"), AutoTokenizer.from_pretrained("gpt2")
    >>> seen = lens(model, tokenizer, "humpty dumpty sat on", contrasts=["acd", "dola"])
    >>> seen.to_html("lens.html")  # in a notebook, `seen` shows itself
    >>> list(seen.numbers)[7:10]
    ['probability', 'entropy', 'cross_entropy']
    """
    reader = with_exits(model)
    ids, inputs = _encoded(reader, tokenizer, text, source)
    if not 0 <= skip < len(ids):
        raise InputError(f"skip: the text has {len(ids)} tokens, so at most {len(ids) - 1} can be skipped, got {skip}")
    rows = layers_to_read(reader, layers)
    settings = named_contrasts(reader, contrasts, lower)
    states = _states(reader, inputs, rows, settings).map(lambda state: state[0, skip:])
    came = torch.tensor([*ids[skip + 1 :], NO_TOKEN], device=reader.device)
    found = _Reading(reader, states, came).rows(rows, settings)
    numbers = {*ids[skip:], *(int(token) for row in found for token in row.token_ids())}
    return Lens(
        title=title or _name_of(model),
        depth=reader.num_layers,
        positions=tuple(range(skip, len(ids))),
        token_ids=tuple(ids[skip:]),
        words={token: tokenizer.decode([token]) for token in sorted(numbers)},
        rows=tuple(found),
    )


def _name_of(model: Any) -> str:
    """The last part of the name or folder that the model was loaded from."""
    return str(model.config.name_or_path or type(model).__name__).rstrip("/").rpartition("/")[2]


def _encoded(model: MultiExitModel, tokenizer: Any, text: Any, source: str | None) -> tuple[list[int], dict[str, Any]]:
    """Token ids of the text, and the arguments of ``exit_states``."""
    twofold = model.config.is_encoder_decoder
    if twofold != (source is not None):
        kind = "encoder-decoder models need" if twofold else "only encoder-decoder models take"
        raise InputError(f"source: {kind} a text for the encoder, got {source!r}")
    ids = list(tokenizer(text)["input_ids"] if isinstance(text, str) else text)
    if not ids:
        raise InputError("text: there is no token in it; give at least one word")
    given = torch.tensor([ids], device=model.device)
    if not twofold:
        return ids, {"input_ids": given}
    encoder = tokenizer(source, return_tensors="pt")["input_ids"].to(model.device)
    start = model.config.decoder_start_token_id
    ids = [start, *ids]
    return ids, {"input_ids": encoder, "decoder_input_ids": torch.tensor([ids], device=model.device)}


@torch.inference_mode()
def _states(
    model: MultiExitModel, inputs: dict[str, Any], rows: tuple[Exit, ...], settings: dict[str, Fields]
) -> ExitStates:
    """States (1, T, d) of the layers that are shown or that a contrast reads."""
    layers = set(rows)
    for fields in settings.values():
        model.set_exits(**fields)
        layers |= set(model.active_exits.exits)
    model.set_exits()
    model.eval()
    with explained(model, inputs):
        return model.exit_states(**inputs, layers=tuple(layers))


class _Reading:
    """Rows of a lens from the states (T, d) of one pass.

    Args:
        came: (T,) ids of the tokens that came next.
    """

    def __init__(self, model: MultiExitModel, states: ExitStates, came: Tensor) -> None:
        self.model, self.states, self.came = model, states, came

    @torch.inference_mode()
    def rows(self, layers: tuple[Exit, ...], settings: dict[str, Fields]) -> list[Row]:
        """The rows of the layers, then those of the contrasts."""
        at_once = max(1, AT_ONCE // self.model.exit_head(ORIGINAL).weight.shape[0])
        starts = range(0, len(self.came), at_once)
        parts = [self._part(slice(start, start + at_once), layers, settings) for start in starts]
        return [Row.joined(pieces) for pieces in zip(*parts, strict=True)]

    def _part(self, at: slice, layers: tuple[Exit, ...], settings: dict[str, Fields]) -> list[Row]:
        here, came = self.states.map(lambda state: state[at]), self.came[at]
        last = self._log_p(here, ORIGINAL)
        found = []
        for layer in layers:
            kind = "last" if layer == ORIGINAL else "exit" if has_own_head(self.model, layer) else "direct"
            log_p = last if layer == ORIGINAL else self._log_p(here, layer)
            label = f"layer {self.model.layer_of(layer)}"
            found.append(_row(label, kind, self.model.layer_of(layer), log_p, last, came))
        return found + [self._contrast(label, fields, here, last, came) for label, fields in settings.items()]

    def _log_p(self, states: ExitStates, layer: Exit) -> Tensor:
        state = states[self.model.layer_of(layer)]
        return wide_logits(self.model, head_of(self.model, layer), state).log_softmax(-1)

    def _contrast(self, label: str, fields: Fields, states: ExitStates, last: Tensor, came: Tensor) -> Row:
        with self.model.set_exits(**fields):
            method = self.model.active_exits.method
            assert method is not None  # a contrast has one
            upper, lowers = self.model.upper_and_lowers(states)
            log_p = method.evaluate(upper, lowers).float()
        upper = upper.float()
        mask = method.plausible(upper)
        sets = None if mask is None else _sets(mask, upper.log_softmax(-1), log_p)
        return _row(label, "contrast", None, log_p, last, came, sets, method.is_distribution)


def _row(
    label: str,
    kind: str,
    layer: int | None,
    log_p: Tensor,
    last: Tensor,
    came: Tensor,
    sets: tuple[PlausibleSet, ...] | None = None,
    is_distribution: bool = True,
) -> Row:
    values, ids = log_p.topk(min(SHOWN, log_p.shape[-1]), -1)
    numbers, probabilities = measured(log_p, last, came), values.exp()
    if not is_distribution:  # scores have an order, and no probabilities
        probabilities = torch.full_like(probabilities, torch.nan)
        for column, measure in enumerate(MEASURES):
            if measure.key not in OF_SCORES:
                numbers[:, column] = torch.nan
    return Row(label, kind, layer, numbers.cpu().numpy(), ids.cpu().numpy(), probabilities.cpu().numpy(), sets)


def _sets(mask: Tensor, log_upper: Tensor, log_p: Tensor) -> tuple[PlausibleSet, ...]:
    """The plausible set of each row, most likely tokens of the upper exit first."""
    sizes = mask.sum(-1)
    values, ids = log_upper.masked_fill(~mask, -torch.inf).topk(min(SET_SHOWN, mask.shape[-1]), -1)
    contrasted = log_p.gather(-1, ids).exp()
    return tuple(
        PlausibleSet(int(size), tuple(ids[i, :size].tolist()), tuple(p[:size].tolist()), tuple(q[:size].tolist()))
        for i, (size, p, q) in enumerate(zip(sizes, values.exp(), contrasted, strict=True))
    )
