"""Whether the device computes what the CPU computes in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from benchmarks.decode import gpt2_medium, settings, with_exits
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.table import Row, failure

TEXTS = 8


def against_the_cpu(bench: Bench) -> Iterator[Row]:
    """Log-probabilities of every setting on the device, in float32 and in bfloat16, beside the CPU's in float32."""
    subject = gpt2_medium(TEXTS, bench.size.new_tokens, torch.float32, "cpu", shape=bench.size.shape)
    model, ids = with_exits(subject.model, bench.size.exits), subject.prompts
    ways = settings(model.num_layers)
    exact = {name: _log_probabilities(model, fields, ids) for name, fields in ways.items()}
    for dtype in (torch.float32, torch.bfloat16):
        moved, kind = copy.deepcopy(model).to(bench.device, dtype), str(dtype).removeprefix("torch.")
        for name, fields in ways.items():
            row = Row("logits", f"{name}, {kind}", TEXTS, "eager")
            try:
                found = _log_probabilities(moved, fields, ids)
                yield Row(row.part, row.case, TEXTS, "eager", note=_differences(found, exact[name]))
            except Exception as error:
                yield failure(row, error)


@torch.inference_mode()
def _log_probabilities(model: PreTrainedModel, fields: dict, ids: Tensor) -> Tensor:
    """Log-probabilities (B, T, V) on the CPU under the setting ``fields``."""
    with model.set_exits(MultiExitConfiguration(), **{"use_original_head": False, **fields}):
        return model(ids.to(model.device)).logits.float().log_softmax(-1).cpu()


def _differences(found: Tensor, exact: Tensor) -> str:
    chosen = exact.argmax(-1, keepdim=True)
    same = (found.argmax(-1, keepdim=True) == chosen).double().mean().item()
    apart = (found.gather(-1, chosen) - exact.gather(-1, chosen)).abs()
    return (
        f"the most likely token is the CPU's at {same:.4f} of the positions; its log-probability differs by "
        f"{apart.median().item():.1e} in the median, by {apart.max().item():.1e} at most"
    )
