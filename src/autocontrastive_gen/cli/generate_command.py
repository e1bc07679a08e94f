"""``acd generate``: continue a prompt with any model, decoder and contrast; the text appears as it is made."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.command_line import command, given_text
from autocontrastive_gen.foundation.errors import InputError, mendable

log = logging.getLogger(__name__)


def decoders() -> list[str]:
    """Names of the decoders, for completion."""
    from autocontrastive_gen.generation.decoder import DECODERS

    return list(DECODERS)


def contrasts() -> list[str]:
    """Names of the contrast methods, for completion."""
    from autocontrastive_gen.modeling.method import METHODS

    return list(METHODS)


def generate(
    model: Annotated[str, typer.Option(help="a folder or a name on the hub")],
    prompt: Annotated[
        str | None, typer.Option(help="the beginning of the text; - reads it from standard input")
    ] = None,
    trial: Annotated[
        Path | None, typer.Option(help="a JSON file of the playground, in place of all options below --exits")
    ] = None,
    exits: Annotated[
        str | None,
        typer.Option(help="trained exits, a folder or a name on the hub; by default those of the model, if any"),
    ] = None,
    decoder: Annotated[str, typer.Option(help="how a token is picked", autocompletion=decoders)] = "greedy",
    contrast: Annotated[
        str | None, typer.Option(help="how exits are combined: a method or module:function", autocompletion=contrasts)
    ] = None,
    lower: Annotated[
        int | None, typer.Option(help="the lower exit of the contrast; by default the one nearest to 5/6 of the depth")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="short for --set contrast.alpha=...")] = None,
    parameters: Annotated[
        list[str], typer.Option("--set", help="parameters of the contrast or of the decoder", metavar="NAME=VALUE...")
    ] = [],  # noqa: B006 - Typer makes a new list per call
    new_tokens: Annotated[int, typer.Option(min=1, help="the largest number of new tokens")] = 80,
    seed: Annotated[int, typer.Option(help="seed of a decoder that samples")] = 0,
) -> None:
    """Continue a prompt with any model, decoder and contrast.

    The continuation goes to standard output, token by token where the decoder allows it. Without trained exits, the
    model's own head reads the layers, so any model will do.

    Examples:

        acd generate --model gpt2 --prompt "The museum was"
        acd generate --model gpt2 --contrast acd --lower 9 --alpha 0.2 --prompt "The museum was"
        acd generate --model gpt2 --contrast dola --set layers=high --decoder top-p --set top_p=0.9 --prompt -
        acd generate --model gpt2 --exits my-exits --contrast acd --prompt "The museum was"
        acd generate --model gpt2 --trial trial.json
    """
    if (prompt is None) == (trial is None):
        raise InputError("give either --prompt or --trial")
    if trial is not None:
        if decoder != "greedy" or parameters or any(it is not None for it in (contrast, lower, alpha)):
            raise InputError("--trial: its settings name their decoders and contrasts; leave these options out")
        return _continue_trial(trial, model, exits)
    out = sys.stdout
    text = given_text("--prompt", prompt or "")
    own = console.current() or console.Console("generate")
    with own.quiet():
        from autocontrastive_gen.generation.decode import stream_text
        from autocontrastive_gen.inspection.lens_contrasts import default_lower

        given = [*parameters, *([] if alpha is None else [f"contrast.alpha={alpha}"])]
        picked, method = chosen(decoder, contrast, given)
        if lower is not None and method is None:
            raise InputError(f"--lower {lower}: it is the lower exit of a contrast; name one, such as --contrast acd")
        if lower is not None and not method.takes_lower:
            raise InputError(f"--lower {lower}: {method.name} with these parameters takes none; leave it out")
        loaded, tokenizer = load(model, exits)
        if method is not None:
            layer = default_lower(loaded) if lower is None and method.takes_lower else lower
            loaded.set_exits(contrast_layer_indices=("original", layer), contrast_function=method)
            log.info("contrast %s, %s", method.name, loaded.multi_exit_config.get_description().replace("_", " "))
        stream_text(
            loaded, tokenizer, text, picked, new_tokens, seed, lambda part: print(part, end="", file=out, flush=True)
        )
    print(file=out, flush=True)


def _continue_trial(path: Path, model: str, exits: str | None) -> None:
    """Print the texts of a trial, one per setting, as the playground shows them; which is which is logged."""
    own = console.current() or console.Console("generate")
    with own.quiet():
        trial = read_trial(path)
        rows = trial.texts(*load(model, exits))
    for number, (setting, row) in enumerate(zip(trial.settings, rows, strict=True), start=1):
        log.info("text %d: %s", number, json.dumps(setting.content))
        print(row["continuation"], flush=True)


def chosen(decoder: str, contrast: str | None, given: Iterable[str]) -> tuple[Any, Any]:
    """The decoder and the contrast method (None without one), with the parameters ``given`` as NAME=VALUE.

    Raises:
        InputError: a name or parameter is unknown, belongs to both, or has a value that is not allowed; or a function
            of one's own fails, or returns no log-probabilities.
    """
    from autocontrastive_gen.foundation.named import describe
    from autocontrastive_gen.generation.decoder import DECODERS
    from autocontrastive_gen.modeling.contrast import check, resolve
    from autocontrastive_gen.modeling.method import METHODS

    declared = {"decoder": [name for name, *_ in describe(DECODERS[decoder])], "contrast": []}
    if contrast in METHODS:
        declared["contrast"] = [name for name, *_ in describe(METHODS[contrast])]
    parameters = shared_out(given, declared)
    if contrast is None and parameters["contrast"]:
        raise InputError(f"{', '.join(parameters['contrast'])} of a contrast: name one, such as --contrast acd")
    method = None if contrast is None else resolve({"name": contrast, **parameters["contrast"]})
    if method is not None and contrast not in METHODS:
        check(method)
    return DECODERS.build(decoder, parameters["decoder"]), method


def shared_out(given: Iterable[str], declared: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """{owner: {parameter: value}} of parameters that are written NAME=VALUE, or OWNER.NAME=VALUE.

    Args:
        given: the parameters.
        declared: the names of each owner's parameters; an owner that declares none checks them itself, and needs
            OWNER.NAME.

    Raises:
        InputError: there is no value, or no owner or several have the name.

    >>> shared_out(["top_p=0.9", "contrast.alpha=0.3"], {"decoder": ["top_p"], "contrast": ["alpha"]})
    {'decoder': {'top_p': 0.9}, 'contrast': {'alpha': 0.3}}
    """
    found: dict[str, dict[str, Any]] = {owner: {} for owner in declared}
    for entry in given:
        name, equals, value = entry.partition("=")
        owner, _, of_owner = name.partition(".")
        owners = [owner] if owner in declared else [each for each, names in declared.items() if name in names]
        if not equals:
            raise InputError(f"--set {entry}: has no value; write {entry}=VALUE")
        if not owners:
            known = [f"{each}.{parameter}" for each, names in declared.items() for parameter in names]
            raise InputError(f"--set {entry}: there is no such parameter; there are {', '.join(known)}")
        if len(owners) > 1:
            raise InputError(f"--set {entry}: say which: {' or '.join(f'{each}.{entry}' for each in owners)}")
        with mendable(f"--set {entry}: is no value in YAML", (yaml.YAMLError,)):
            found[owners[0]][of_owner or name] = yaml.safe_load(value)
    return found


def load(source: str | Path, exits: str | None = None) -> tuple[Any, Any]:
    """A multi-exit model and its tokenizer.

    Args:
        source: a folder or a name on the hub.
        exits: the same for trained exits; without, those of the checkpoint, or else the model's own head reads all
            layers.

    Raises:
        FileError: something cannot be loaded.
    """
    import torch

    from autocontrastive_gen import AutoMultiExitModel
    from autocontrastive_gen.inspection.exit_logits import with_exits
    from autocontrastive_gen.modeling.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(source)
    model: Any = with_exits(AutoMultiExitModel.from_pretrained(source, exits=exits, dtype="auto"))
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    return model.to(device), tokenizer


def read_trial(path: Path) -> Any:
    """The trial in a file.

    Raises:
        FileError: the file is not readable.
        InputError: it holds no trial.
    """
    from autocontrastive_gen.generation.trial import Trial

    with mendable(f"{path}: is not a trial"):
        return Trial.read(json.loads(path.read_text(encoding="utf-8")))


app = command(generate, "generate")
