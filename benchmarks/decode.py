"""What decoding with exits costs, relative to plain ``generate`` on the same weights in the same process.

Each round runs every way of decoding once, in a rotating order; a ratio is taken within its round, and the table gives
the median of the rounds and their interquartile range. Time is the process's CPU time, or the device's on a GPU.
Decoders (``--decoders``) run on the plain model with their default parameters, in the batch of ``generate_texts``.
Contrast costs what its plausible sets make it cost, so their mean size |V| is printed: real text gives about 7; a
random model is given a final norm of such a gain that |V| lies between 5 and 20, or left unsure: the worst case.
"""

import argparse
import copy
import functools
import logging
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.environment import threads
from autocontrastive_gen.foundation.timing import Meter, Relative, relative, rounds
from autocontrastive_gen.generation.decode import continue_batch
from autocontrastive_gen.generation.decoder import DECODERS, Decoder
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.method import METHODS
from autocontrastive_gen.modeling.plausible import plausible_mask

logger = logging.getLogger(__name__)

PROMPT = 32
SUBJECTS = ["model", "gpt2-medium", "gpt2-medium-unsure"]
GPT2_MEDIUM = {"n_embd": 1024, "n_layer": 24, "n_head": 16}
TARGETS = {"original": 1.03, "acd": 1.06, "exit at half": 0.62, "exit at a quarter": 0.42}
TEXT = """The ferry left the harbour a little after six, when the fishing boats were already coming home. On the upper
deck a group of students argued about the best route across the mountains, while an old man fed the gulls and said
nothing. The company that runs the line was founded in the nineteenth century and once owned eleven ships; today only
three remain, and the island's council has asked the government for help. Last winter the storms were so heavy that
the school stayed closed for nine days. Scientists from the university have measured the level of the sea at the old
lighthouse since 1954, and their records show that it rises by about three millimetres a year. Many of the younger
people have moved to the capital, where there is work in hospitals, offices and shops. Those who stay keep sheep, grow
potatoes, or rent rooms to visitors in summer. In the evening the band played in the square, the children danced, and
the mayor promised that a new bridge would be built before the end of the decade. Nobody believed her, but everybody
clapped, because the night was warm and the next boat would not come until Monday morning."""


@dataclass(frozen=True)
class Subject:
    """A plain model and prompts (batch, 32) for it."""

    name: str
    model: PreTrainedModel
    prompts: torch.Tensor
    targets: dict[str, float] = field(default_factory=lambda: TARGETS)


def smollm2(folder: Path, batch: int, dtype: torch.dtype, device: str) -> Subject:
    """A real model on real text: overlapping pieces of a paragraph."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    ids = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt").input_ids[0]
    step = max(1, (len(ids) - PROMPT) // batch)
    return Subject(folder.name, model, ids.unfold(0, PROMPT, step)[:batch].to(device))


def gpt2_medium(
    batch: int,
    tokens: int,
    dtype: torch.dtype,
    device: str,
    unsure: bool = False,
    shape: Mapping[str, int] = GPT2_MEDIUM,
) -> Subject:
    """GPT2-medium's shape with random weights; ``unsure`` as they are, with thousands of plausible tokens."""
    torch.manual_seed(0)
    config = GPT2Config(**{"bos_token_id": 0, "eos_token_id": 0, **shape})
    model = GPT2LMHeadModel(config).to(device, dtype).eval()
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(1, config.vocab_size, (batch, PROMPT), generator=generator).to(device)
    if unsure:
        return Subject("GPT2-medium's shape, unsure", model, prompts, {**TARGETS, "acd": 1.25})
    _sharpen(model, model.transformer.ln_f.weight, prompts, tokens)
    return Subject("GPT2-medium's shape", model, prompts)


@torch.no_grad()
def _sharpen(model: PreTrainedModel, gain: torch.Tensor, prompts: torch.Tensor, tokens: int) -> None:
    """Scale the final norm's gain until 5 to 20 tokens are plausible on average in the text that the model writes.

    The norm has no bias, so logits scale with its gain and the greedy text stays the same.
    """
    text = model.generate(prompts, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
    logits = model(text).logits[:, PROMPT - 1 : -1].float()
    low, high = 0.0, 64.0
    for _ in range(32):
        middle = (low + high) / 2
        size = mean_plausible(middle * logits)
        if 5 <= size <= 20:
            gain.mul_(middle)
            return
        low, high = (middle, high) if size > 20 else (low, middle)
    raise ValueError("no gain of the final norm makes 5 to 20 tokens plausible; try another number of --tokens")


def mean_plausible(logits: torch.Tensor) -> float:
    """Mean size of the plausible sets (alpha 0.1) of logits (B, T, V)."""
    return plausible_mask(logits.flatten(0, 1).float(), alpha=0.1).sum(-1).double().mean().item()


def with_exits(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """A multi-exit model on the same weights, with heads of its own at ``count`` layers, a quarter and half among them.

    The heads are nearly zero: a contrast then follows the model's own text, at the cost of a trained one.
    """
    size = model.config.num_hidden_layers
    layers = {round(size / 4), size // 2}
    spread = [round(1 + i * (size - 2) / (4 * count)) for i in range(4 * count + 1)]
    for layer in sorted(spread, key=lambda layer: min(abs(layer - other) for other in layers), reverse=True):
        if len(layers) < count:
            layers.add(layer)
    shared = copy.deepcopy(model, {id(x): x for x in (*model.parameters(), *model.buffers())})
    exits = AutoMultiExitModel.from_model(shared, MultiExitConfiguration(lm_head_layer_indices=sorted(layers)))
    for parameters in exits.exit_parameters().values():
        torch.nn.init.normal_(parameters[0], std=1e-4)
    return exits


def settings(size: int) -> dict[str, dict]:
    """Ways of decoding -> arguments of ``set_exits``."""
    half = size // 2
    return {
        "original": {"use_original_head": True},
        "acd": {"contrast_layer_indices": ("original", half)},
        "exit at half": {"output_layer_index": half},
        "exit at a quarter": {"output_layer_index": round(size / 4)},
        **{name: {"contrast_layer_indices": ("original", half), "contrast_function": of} for name, of in contrasts()},
    }


def contrasts() -> Iterator[tuple[str, dict]]:
    """Every contrast but acd, with one lower layer or, where it can read several, with all exits of the model."""
    for name in METHODS:
        if name != "acd":
            several = any(field.name == "layers" for field in fields(METHODS[name]))
            yield name, {"name": name, **({"layers": "all"} if several else {})}


def decoders() -> dict[str, Decoder]:
    """Every decoder under its name, and greedy search with what any decoder may add."""
    return {
        **{name: DECODERS.build(name, {}) for name in sorted(DECODERS)},
        "repetition-penalty": DECODERS.build("greedy", {"repetition_penalty": 1.2}),
        "no-repeat-ngram": DECODERS.build("greedy", {"no_repeat_ngram_size": 3}),
    }


def copy_bandwidth(device: str, meter: Meter) -> float:
    """GB/s of copying a large tensor, reads and writes counted."""
    source = torch.ones(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() / 1e9 / statistics.median(meter.seconds(lambda: target.copy_(source)) for _ in range(9))


Ways = dict[str, Callable[[], torch.Tensor]]
"""Way of decoding -> what runs it and returns the texts (batch, prompt and new tokens)."""


def ways_to_decode(
    subject: Subject, model: PreTrainedModel, tokens: int, wanted: Collection[str], **options: object
) -> Ways:
    """Every setting under greedy search of transformers, and the decoders of the names ``wanted``.

    ``options`` are further arguments of transformers' ``generate``.
    """
    options |= {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    inputs = {"input_ids": subject.prompts, "attention_mask": torch.ones_like(subject.prompts)}
    names = [str(i) for i in range(len(subject.prompts))]

    def under_setting(fields: dict) -> torch.Tensor:
        with model.set_exits(MultiExitConfiguration(), **{"use_original_head": False, **fields}):
            return model.generate(**inputs, **options)

    def by_decoder(decoder: Decoder) -> torch.Tensor:
        new = continue_batch(subject.model, *inputs.values(), decoder, names, tokens, seed=0)
        return torch.cat([subject.prompts, new], dim=1)

    return {
        "plain": functools.partial(subject.model.generate, **inputs, **options),
        **{name: functools.partial(under_setting, fields) for name, fields in settings(model.num_layers).items()},
        **{name: functools.partial(by_decoder, way) for name, way in decoders().items() if name in wanted},
    }


@dataclass(frozen=True)
class Decoded:
    """What one way of decoding costs."""

    step: float
    """Seconds per new token of all texts."""
    cost: Relative
    """Relative to plain decoding."""
    memory: float
    """Peak beyond the weights, in MB."""
    agreement: float
    """Share of the new tokens that are those of plain decoding."""


def measured(ways: Ways, tokens: int, pairs: int, meter: Meter, title: str) -> dict[str, Decoded]:
    """The cost of each of ``ways``, "plain" among them, in ``pairs`` interleaved rounds after a warm-up."""
    texts, memory = {}, {}
    for name, way in ways.items():
        memory[name] = meter.peak_megabytes(lambda name=name, way=way: texts.update({name: way()}))
    times = rounds(ways, pairs, meter, title)
    plain = times["plain"], texts["plain"]
    return {
        name: Decoded(
            statistics.median(times[name]) / tokens,
            relative(times[name], plain[0]),
            memory[name],
            agreement(texts[name], plain[1]),
        )
        for name in ways
    }


def agreement(texts: torch.Tensor, others: torch.Tensor) -> float:
    """Share of equal new tokens."""
    return (texts == others)[:, PROMPT:].double().mean().item()


@torch.no_grad()
def plausible_in(subject: Subject, texts: torch.Tensor) -> float:
    """Mean size |V| of the plausible sets at the new tokens of ``texts``."""
    return mean_plausible(subject.model(texts).logits[:, PROMPT - 1 : -1])


def bytes_of(model: PreTrainedModel) -> int:
    """Size of the weights, which every step of a small batch reads once."""
    return sum(x.numel() * x.element_size() for x in model.parameters())


def rows(subject: Subject, exits: int, tokens: int, pairs: int, meter: Meter, wanted: list[str]) -> Iterator[list[str]]:
    """Lines of the table for one model, batch and number of exits, with the decoders of the names ``wanted``."""
    ways = ways_to_decode(subject, with_exits(subject.model, exits), tokens, wanted)
    batch = len(subject.prompts)
    found = measured(ways, tokens, pairs, meter, f"{subject.name}, batch {batch}, {exits} exits")
    for same in {"original", "greedy"} & set(found):
        if found[same].agreement < 1:
            raise AssertionError(f"{same} does not decode like the plain model")
    size = plausible_in(subject, ways["acd"]())
    for name, each in found.items():
        cost = each.cost
        yield [
            subject.name, str(batch), str(exits), name, f"{1000 * each.step:.1f}",
            "1" if name == "plain" else f"**{cost.median:.3f}** [{cost.low:.3f}, {cost.high:.3f}]",
            f"<= {subject.targets[name]}" if name in subject.targets else "",
            f"{size:.1f}" if name == "acd" else "", f"{each.memory:.0f}",
            f"{bytes_of(subject.model) / each.step / 1e9:.1f}" if name == "plain" else "",
        ]  # fmt: skip


HEADER = ["model", "batch", "exits", "decoding", "ms/step", "relative to plain [IQR]", "target", "\\|V\\|",
          "peak MB beyond weights", "weights GB/s"]  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path("runs/laptop/fetch/smollm2")
    parser.add_argument("--model", type=Path, default=default, help="folder of a real model (default: %(default)s)")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--exits", type=int, nargs="+", default=[4, 12])
    names = list(decoders())
    parser.add_argument("--decoders", nargs="*", choices=names, default=names, help="(default: all)")
    parser.add_argument("--pairs", type=int, default=15, help="rounds (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens a text (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=threads(1))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="default: bfloat16 on a GPU")
    parser.add_argument("--quick", action="store_true", help="the real model alone, batch 1, 4 exits, 3 short rounds")
    options = parser.parse_args()
    if options.quick:
        options.subjects, options.batch, options.exits = ["model"], [1], [4]
        options.pairs, options.tokens = 3, 8
    return options


def main() -> None:
    """Print the table, a line as soon as it is measured."""
    options = arguments()
    if "model" in options.subjects and not (options.model / "config.json").is_file():
        remedy = "`dvc repro fetch` makes it; or name another folder with --model"
        if options.subjects == ["model"]:
            raise OSError(f"--model {options.model}: no model in this folder; {remedy}")
        logger.warning("--model %s: no model in this folder, left out; %s", options.model, remedy)
        options.subjects = [name for name in options.subjects if name != "model"]
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype or ("bfloat16" if options.device.startswith("cuda") else "float32"))
    meter = Meter(options.device)
    where = torch.cuda.get_device_name() if meter.cuda else f"CPU, {options.threads} thread(s)"
    print(f"{where}, {str(dtype).rpartition('.')[2]}, prompt {PROMPT}, {options.tokens} new tokens, greedy, median of "
          f"{options.pairs} rounds, torch {torch.__version__}; copying runs at "
          f"{copy_bandwidth(options.device, meter):.1f} GB/s\n")  # fmt: skip
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    for name in options.subjects:
        for batch in options.batch:
            if name == "model":
                made = smollm2(options.model, batch, dtype, options.device)
            else:
                made = gpt2_medium(batch, options.tokens, dtype, options.device, unsure=name.endswith("unsure"))
            for i, exits in enumerate(options.exits):
                wanted = [] if i else options.decoders  # the number of exits makes no difference to them
                for row in rows(made, exits, options.tokens, options.pairs, meter, wanted):
                    print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    run(main, "decode")
