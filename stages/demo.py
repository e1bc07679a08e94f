"""See what contrast changes in a text, before any run: one prompt, continued without and with it.

    python -m stages.demo
    python -m stages.demo --prompt "The best way to learn a language is" --lower 20
    python -m stages.demo --model gpt2

The lower layer is read by the model's own head, so nothing is trained. This is not a stage of the pipeline.
"""

from __future__ import annotations

import logging
from pathlib import Path

from rich.console import Console
from rich.text import Text

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.errors import mendable
from autocontrastive_gen.foundation.files import SCRATCH, read_json, write_json

log = logging.getLogger(__name__)

PROMPT = (
    "The museum was founded in 1892 by a group of teachers who wanted to show the history of the region. Today the "
    "collection includes"
)
MODELS = SCRATCH / "models"


def main() -> None:
    parser = command_parser("demo", __doc__)
    parser.add_argument(
        "--model", help="a folder or a name on the hub (default: the first model of params.yaml, fetched to .scratch)"
    )
    parser.add_argument("--prompt", default=PROMPT, help="the beginning of the text")
    parser.add_argument("--lower", type=int, help="the lower layer (default: five sixths of the depth)")
    parser.add_argument(
        "--alpha", type=float, default=0.1, help="plausible: at least this share of the top probability"
    )
    parser.add_argument("--new-tokens", type=int, default=80, help="length of the continuations (%(default)s)")
    arguments = parser.parse_args()
    own = console.current() or console.Console("demo")
    with own.quiet():
        from autocontrastive_gen.evaluation.metrics.diversity import diversity
        from autocontrastive_gen.generation.side_by_side import side_by_side

        model, tokenizer = load(arguments.model or fetched())
        lower = arguments.lower or max(1, round(model.num_layers * 5 / 6))
        contrast = {
            "use_original_head": False,
            "contrast_layer_indices": ("original", lower),
            "contrast_function": {"name": "acd", "alpha": arguments.alpha},
        }
        texts = side_by_side(model, tokenizer, arguments.prompt, contrast, arguments.new_tokens)
        scores = [float(diversity(["".join(pieces)])) for pieces in (texts.plain, texts.contrasted)]
    show(texts, arguments.prompt, f"last layer ({model.num_layers}) against layer {lower}", scores)


def fetched() -> Path:
    """Folder of the first model of params.yaml, which is fetched if it is not there."""
    from autocontrastive_gen.data.assets import provide
    from autocontrastive_gen.data.sources import drop_archives

    params = load_params()
    name = params.models[params.run.models[0]].asset
    folder, record = MODELS / name, MODELS / f"{name}.json"
    known = read_json(record) if record.exists() else None
    write_json(record, provide(name, params.assets[name], folder, model=True, known=known))
    drop_archives()
    return folder


def load(source: str | Path):
    """A model whose exits read their layers with its own head, and its tokenizer."""
    from transformers import AutoTokenizer

    from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
    from autocontrastive_gen.foundation.processes import Processes

    with mendable(f"{source}: cannot load a tokenizer from it"):
        tokenizer = AutoTokenizer.from_pretrained(source)
    direct = MultiExitConfiguration("SHARED_PROJECTION_DIRECT")
    model = AutoMultiExitModel.from_pretrained(source, multi_exit_config=direct, dtype="auto")
    return model.to(Processes.start().device), tokenizer


def show(texts, prompt: str, contrast: str, scores: list[float]) -> None:
    """Print both texts; what contrast changed is underlined on a terminal and in brackets elsewhere."""
    out = Console(highlight=False, soft_wrap=not Console().is_terminal)
    marked = Text()
    for part, changed in texts.parts:
        if changed and not out.is_terminal:
            word = part.strip()
            part = part.replace(word, f"[{word}]", 1) if word else part
        marked.append(part, "bold underline" if changed else "")
    sections = [
        ("Prompt", Text(prompt)),
        (f"Plain greedy search, diversity {scores[0]:.2f}", Text("".join(texts.plain))),
        (f"Contrast of the {contrast}, diversity {scores[1]:.2f}", marked),
    ]
    for title, text in sections:
        out.print(Text(title, "bold"))
        out.print(text, "\n")
    how = "underlined" if out.is_terminal else "in brackets"
    out.print(f"{len(texts.changed)} of {len(texts.contrasted)} tokens, {how}, are not the last layer's first choice.")
    out.print("Another text: python -m stages.demo --prompt '...'. The whole replication: make reproduce.")


if __name__ == "__main__":
    run(main, "demo")
