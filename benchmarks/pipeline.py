"""Where the time of a cell of the generate stage goes, with the model and the prompts of a finished run, and the floor.

CPU seconds per part: the imports and the model of a new process; reading the prompts; the decoding steps by kind of
operation; the notes on the texts. Beside the steps stands what they would take if this machine did nothing but read the
bytes (weights once per step, keys and values of every row) at the speed of a copy, or nothing but multiply at the speed
of its fastest product.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import read_jsonl
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.batches import pad, pad_token
from autocontrastive_gen.generation.decode import continue_batch
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model, read_resolved

KINDS = {
    "products": ("linear", "mm", "addmm", "bmm", "matmul"),
    "attention": ("scaled_dot_product", "flash_attention"),
    "cache and copies": ("copy_", "cat", "index_select", "clone", "_to_copy", "fill_", "zeros", "repeat"),
    "choice of tokens": ("topk", "softmax", "logsumexp", "gather", "scatter", "sort", "argmax", "amax", "cumsum"),
}
IMPORTS = "import autocontrastive_gen.pipeline.generate_cell, torch, time; print(time.process_time())"


def kind_of(name: str) -> str:
    """The part of a step to which an operation of torch belongs."""
    words = name.partition("::")[2] or name
    return next((kind for kind, parts in KINDS.items() if any(part in words for part in parts)), "everything else")


def cpu(work) -> tuple[float, object]:
    """CPU seconds of a call, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def rate(work, amount: float) -> float:
    """``amount`` per CPU second of the fastest of some calls."""
    work()
    return amount / min(cpu(work)[0] for _ in range(5))


def steps_by_kind(generate) -> Counter:
    """CPU seconds of all operations of a call, by kind; on one thread, these are the profiler's wall seconds."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        generate()
    found: Counter = Counter()
    for event in profiler.key_averages():
        found[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    return found


def floor(model, rows: int, length: int) -> dict[str, float]:
    """Seconds of a decoding step if only bytes, or only products, took time."""
    weights = [weight for weight in {id(p): p for p in model.parameters()}.values() if weight.dim() == 2]
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    number = weights[0].element_size()
    cached = 2 * config.num_hidden_layers * heads * size * rows * length * number
    source, target = torch.zeros(2**26), torch.ones(2**26)
    bandwidth = rate(lambda: target.copy_(source), 2 * source.numel() * source.element_size())
    a = torch.ones(1024, 1024, dtype=torch.bfloat16)
    multiplied = rate(lambda: a @ a, 1024**3)
    entries = sum(weight.numel() for weight in weights)
    return {"bytes": (entries * number + cached) / bandwidth, "products": rows * entries / multiplied}


def main() -> None:
    """Print the parts of one cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", default="greedy", help="a setting of the run under greedy search")
    parser.add_argument("--rows", type=int, default=48, help="texts in the batch")
    parser.add_argument("--new-tokens", type=int, default=30)
    options = parser.parse_args()
    params = load_params()
    paths, name = Paths(params.profile), params.run.models[0]
    imports = float(subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True).stdout or "nan")
    Processes.start()
    torch.set_num_threads(1)
    runtime = {"asset": params.models[name].asset, "dtype": params.models[name].dtype}
    fields = exit_fields(read_resolved(paths, name, options.setting))
    load, (model, tokenizer) = cpu(lambda: load_cell_model(paths, name, runtime, fields))
    torch.set_num_threads(1)
    prompts = [row for domain in params.run.domains for row in read_jsonl(paths.prompts(domain))][: options.rows]
    ids, mask = pad([tokenizer(row["prompt"])["input_ids"] for row in prompts], pad_token(tokenizer), "left", "cpu")
    greedy, names = DECODERS.build("greedy", {}), [row["id"] for row in prompts]

    def generate(tokens: int):
        return continue_batch(model, ids, mask, greedy, names, tokens, seed=0)

    generate(1)
    prefill, _ = cpu(lambda: generate(1))
    both, tokens = cpu(lambda: generate(options.new_tokens))
    rows = [{**row, "tokens": its} for row, its in zip(prompts, tokens.tolist(), strict=True)]
    notes, _ = cpu(lambda: annotate(model, tokenizer, rows, len(rows)))
    kinds, first = steps_by_kind(lambda: generate(options.new_tokens)), steps_by_kind(lambda: generate(1))
    steps = options.new_tokens - 1
    print(f"{options.setting}, {len(prompts)} texts, {ids.shape[1]} tokens of prompt, one core, {runtime['dtype']}\n")
    for title, seconds in (("imports", imports), ("model", load), ("prompts", prefill)):
        print(f"{title:<28}{seconds:8.2f} s")
    print(f"{'each step':<28}{1000 * (both - prefill) / steps:8.0f} ms")
    for kind in (*KINDS, "everything else"):
        print(f"  {kind:<26}{1000 * (kinds[kind] - first[kind]) / steps:8.0f} ms")
    for title, seconds in floor(model, len(prompts), ids.shape[1] + steps // 2).items():
        print(f"  floor: {title:<19}{1000 * seconds:8.0f} ms")
    print(f"{'notes by another pass':<28}{notes:8.2f} s")


if __name__ == "__main__":
    run(main, "pipeline")
