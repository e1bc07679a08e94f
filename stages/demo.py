"""See what contrast changes in a text, before any run: one prompt, continued without and with it.

The lower layer is read by the model's own head, so nothing is trained. This is not a stage of the pipeline.

Examples:

    acd demo
    acd demo --prompt "The best way to learn a language is" --lower 20
    acd demo --model gpt2
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from autocontrastive_gen.cli.generate_command import load
from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.environment import activation
from autocontrastive_gen.foundation.files import SCRATCH, read_json, write_json

log = logging.getLogger(__name__)

PROMPT = (
    "The museum was founded in 1892 by a group of teachers who wanted to show the history of the region. Today the "
    "collection includes"
)
MODELS = SCRATCH / "models"


SOURCE = "a folder or a name on the hub; by default the first model of params.yaml, fetched to .scratch"


def main(
    model: Annotated[str | None, typer.Option(help=SOURCE)] = None,
    prompt: Annotated[str, typer.Option(help="the beginning of the text", show_default=False)] = PROMPT,
    lower: Annotated[int | None, typer.Option(help="the lower layer; by default five sixths of the depth")] = None,
    alpha: Annotated[float, typer.Option(help="plausible: at least this share of the top probability")] = 0.1,
    new_tokens: Annotated[int, typer.Option(min=1, help="length of the continuations, in tokens")] = 80,
) -> None:
    own = console.current() or console.Console("demo")
    with own.quiet():
        from autocontrastive_gen.evaluation.metrics.diversity import diversity
        from autocontrastive_gen.generation.side_by_side import side_by_side
        from autocontrastive_gen.inspection.lens_contrasts import default_lower

        loaded, tokenizer = load(model or fetched())
        lower = lower or default_lower(loaded)
        contrast = {
            "use_original_head": False,
            "contrast_layer_indices": ("original", lower),
            "contrast_function": {"name": "acd", "alpha": alpha},
        }
        texts = side_by_side(loaded, tokenizer, prompt, contrast, new_tokens)
        scores = [float(diversity(["".join(pieces)])) for pieces in (texts.plain, texts.contrasted)]
    show(texts, prompt, f"last layer ({loaded.num_layers}) against layer {lower}", scores)


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
    first = f"{activation()} && ".removeprefix(" && ")
    out.print(f"Another text: {first}acd demo --prompt '...'. The whole replication: make reproduce.")


app = command(main, "demo", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.demo")
