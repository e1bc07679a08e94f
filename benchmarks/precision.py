"""What 16-bit arithmetic changes and saves, with the models and the greedy texts of a finished run.

For each greedy setting, the share of the positions of its texts, read in one pass, at which the most likely token is
the one that float32 chooses; and the CPU time of a decoding step after 45 tokens, relative to float32.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import torch

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import read_jsonl
from autocontrastive_gen.generation.cache import growing_cache
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model, read_resolved

DTYPES = ("float32", "mixed", "bfloat16")
STEPS, CONTEXT = 9, 45


@torch.inference_mode()
def choices(model, tokenizer, texts: list[dict]) -> torch.Tensor:
    """The most likely token at each position of the continuations."""
    found = []
    for row in texts:
        prompt = tokenizer(row["prompt"])["input_ids"]
        layers = tuple({model.layer_of(exit_) for exit_ in model.active_exits.exits})
        states = model.exit_states(torch.tensor([prompt + row["tokens"]]), layers=layers)
        steps = states.map(lambda state: state.transpose(0, 1))  # (tokens, 1, d), as in decoding steps
        found.append(model.combined(steps).argmax(-1).flatten()[len(prompt) - 1 : -1])
    return torch.cat(found)


@torch.inference_mode()
def step_time(model, rows: int) -> float:
    """Median CPU seconds of a decoding step of ``rows`` texts."""
    ids = torch.randint(model.config.vocab_size, (rows, CONTEXT), generator=torch.Generator().manual_seed(0))
    cache, times = growing_cache(model), []
    model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    for _ in range(STEPS):
        start = time.process_time()
        model(ids[:, :1], past_key_values=cache, use_cache=True)
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    """Print a line per setting and dtype as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10, help="texts of each domain")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 48], help="texts per decoding step")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = load_params()
    paths, name = Paths(params.profile), params.run.models[0]
    print("| setting | dtype | tokens | as in float32 |" + "".join(f" step, {rows} rows |" for rows in options.rows))
    print("|" + "---|" * (4 + len(options.rows)), flush=True)
    for setting in (s for s in params.run.settings if s.split("-")[0] == "greedy"):
        fields = exit_fields(read_resolved(paths, name, setting))
        domains = (read_jsonl(paths.texts(name, setting, domain))[: options.texts] for domain in params.run.domains)
        texts, exact, times = [*itertools.chain(*domains)], None, None
        for dtype in DTYPES:
            runtime = {"asset": params.models[name].asset, "dtype": dtype}
            model, tokenizer = load_cell_model(paths, name, runtime, fields)
            chosen, taken = choices(model, tokenizer, texts), [step_time(model, rows) for rows in options.rows]
            exact, times = (chosen, taken) if exact is None else (exact, times)
            share = (chosen == exact).double().mean().item()
            pairs = zip(taken, times, strict=True)
            ratios = "".join(f" {1000 * own:.0f} ms, {own / first:.2f} |" for own, first in pairs)
            print(f"| {setting} | {dtype} | {len(chosen)} | {share:.4f} |{ratios}", flush=True)


if __name__ == "__main__":
    run(main, "precision")
