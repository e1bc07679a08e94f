"""Continuations of the same prompt side by side: plain, contrast and human, with the tokens that contrast changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autocontrastive_gen.report.results import Results

_UNKNOWN = {"", "unknown", "none", "not stated", "unlicensed", "other"}


@dataclass(frozen=True)
class Piece:
    """A stretch of text; where contrast changed the token, ``upper`` and ``lower`` are what the two exits wanted."""

    text: str
    upper: str | None = None
    lower: str | None = None
    said: tuple[float, float, float, float] | None = None
    """Probabilities of what the upper and the lower exit wanted, and of the token under each of the two."""


@dataclass(frozen=True)
class Sample:
    model: str
    domain: str
    """Title."""
    decode: str
    contrast: str
    """Name of the contrast setting."""
    number: int
    prompt: str
    plain: str
    contrasted: list[Piece]
    changed: int
    human: str


def showable(results: Results) -> dict[str, str]:
    """{domain: licence} of the domains whose text may be shown: those whose asset states a licence."""
    licences = {
        name: str(results.assets.get(entry["asset"], {}).get("licence", "")) for name, entry in results.domains.items()
    }
    return {name: licence for name, licence in licences.items() if licence.strip().lower() not in _UNKNOWN}


def collect(results: Results) -> list[Sample]:
    """Samples of every showable domain and pair of settings, the first ``examples`` prompts of each."""
    found = []
    for model in results.models:
        tokenizer = _Tokenizer(results.paths.asset(results.models[model]["asset"]) / "tokenizer.json")
        for domain in showable(results):
            humans = results.humans(domain)
            first = results.plan["examples"]
            for contrast, plain in results.pairs:
                texts = {row["id"]: row for row in results.texts(model, plain.name, domain, first)}
                rows = [row for row in results.texts(model, contrast.name, domain, first) if row["id"] in texts]
                for number, row in enumerate(rows, start=1):
                    found.append(
                        Sample(
                            model=model,
                            domain=results.domains[domain]["title"],
                            decode=plain.name,
                            contrast=contrast.name,
                            number=number,
                            prompt=row["prompt"],
                            plain=texts[row["id"]]["continuation"].lstrip(" "),
                            contrasted=tokenizer.pieces(row),
                            changed=len(row["changed"] or ()),
                            human=tokenizer.cut(humans.get(row["id"], ""), len(row["tokens"])),
                        )
                    )
    return found


class _Tokenizer:
    """Finds the changed tokens in the text; where they cannot be located with certainty, the text is shown unmarked."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = None
        if path.exists():
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(path))

    def cut(self, text: str, tokens: int) -> str:
        """The beginning of a human text, as many tokens long as the generated ones."""
        if self.tokenizer is None:
            return text
        found = self.tokenizer.encode(f" {text}", add_special_tokens=False)
        if len(found) <= tokens:
            return text
        return f"{text[: found.offsets[tokens - 1][1] - 1]} …"

    def pieces(self, row: dict) -> list[Piece]:
        text, tokens = row["continuation"], row["tokens"]
        if self.tokenizer is None or not row["changed"] or not self.tokenizer.decode(tokens).startswith(text):
            return [Piece(text)]
        # a token decoded alone may lose its leading space, so offsets are lengths of decoded beginnings
        ends = [len(self.tokenizer.decode(tokens[:count])) for count in range(len(tokens) + 1)]
        pieces, at = [], len(text) - len(text.lstrip(" "))
        for change in row["changed"]:
            start, end = ends[change["position"]], ends[change["position"] + 1]
            if end <= max(start, at) or end > len(text):
                continue  # part of a character, or a special token that the text leaves out
            start = max(start, at)
            pieces += [Piece(text[at:start])] if start > at else []
            said = (change["upper_p"], change["lower_p"], *change["token_p"]) if "token_p" in change else None
            pieces.append(Piece(text[start:end], change["upper"], change["lower"], said))
            at = end
        return [*pieces, Piece(text[at:])] if at < len(text) else pieces
