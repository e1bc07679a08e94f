"""Scores of generated texts: repetition, diversity, coherence and MAUVE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autocontrastive_gen.foundation.errors import InputError, mendable

NGRAMS = (2, 3, 4)
COUNTS = tuple(f"{kind}_{n}" for n in NGRAMS for kind in ("unique", "total"))
"""Columns of ``ngram_counts``, in the order that ``statistics.pooled_product`` takes."""


def ngram_counts(text: str) -> tuple[int, ...]:
    """Unique and total 2-, 3- and 4-grams of whitespace-separated words: (unique_2, total_2, ..., total_4).

    As SimCTG's script counts them (Su et al. 2022, https://arxiv.org/abs/2202.06417): the last n-gram of a text is
    left out.
    """
    words = text.split()
    counts: list[int] = []
    for n in NGRAMS:
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n)]
        counts += [len(set(grams)), len(grams)]
    return tuple(counts)


def repetition(counts: Sequence[int]) -> tuple[float, ...] | None:
    """(rep-2, rep-3, rep-4) as fractions from (pooled) counts; None where there is no n-gram.

    Rounded to 2 decimals of a per cent, as SimCTG's script does before it goes on to diversity.
    """
    pairs = list(zip(counts[0::2], counts[1::2], strict=True))
    if any(total == 0 for _, total in pairs):
        return None
    return tuple(round(100 * (1 - unique / total), 2) / 100 for unique, total in pairs)


def diversity_of_counts(counts: Sequence[int]) -> float:
    """Product over n of (1 - rep-n); 0 for texts without n-grams, as in the reference."""
    repeated = repetition(counts)
    return 0.0 if repeated is None else float(np.prod([1 - rate for rate in repeated]))


def diversity(texts: Sequence[str]) -> float:
    """Corpus-level diversity: counts are summed over texts, the same n-gram in two texts is no repetition."""
    return diversity_of_counts(np.sum([ngram_counts(text) for text in texts], axis=0))


def diversity_per_text(texts: Sequence[str]) -> list[float]:
    """Diversity of each text by itself: its mean is what the reference reports."""
    return [diversity_of_counts(ngram_counts(text)) for text in texts]


def load_encoder(folder: Path | str, device: str = "cpu"):
    """Sentence encoder with ``encode(texts) -> (n, d)``: a sentence-transformers folder, or a plain one as SimCSE."""
    folder = Path(folder)
    if (folder / "modules.json").exists():
        from sentence_transformers import SentenceTransformer

        with mendable(f"{folder}: is not a sentence encoder (score.coherence_asset)"):
            return SentenceTransformer(str(folder), device=device, local_files_only=True, trust_remote_code=False)
    with mendable(f"{folder}: is not an encoder (score.coherence_asset)"):
        return PooledEncoder(folder, device)


class PooledEncoder:
    """A plain encoder whose pooler's output stands for the text: supervised SimCSE (Gao et al. 2021)."""

    def __init__(self, folder: Path, device: str = "cpu"):
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to(device).eval()

    def encode(self, texts: Sequence[str], batch_size: int = 64, **_) -> np.ndarray:
        """Embeddings (n, d); texts are cut at 128 tokens, as SimCSE's own package does."""
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                batch = self.tokenizer(
                    list(texts[start : start + batch_size]),
                    padding=True,
                    truncation=True,
                    max_length=128,
                    return_tensors="pt",
                ).to(self.model.device)
                parts.append(self.model(**batch).pooler_output.float().cpu().numpy())
        return np.concatenate(parts)


def coherence(encoder, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Cosine of the embeddings of each prompt and its continuation."""
    both = np.asarray(encoder.encode([*prompts, *texts], show_progress_bar=False), dtype=np.float64)
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
    return (both[: len(prompts)] * both[len(prompts) :]).sum(axis=1).tolist()


def last_states(model, tokenizer, texts: Sequence[str], batch_size: int = 16) -> np.ndarray:
    """Features (n, d) of texts: the last hidden state of a causal model of transformers at the last token.

    Texts are cut at as many tokens as the model has positions.
    """
    import torch

    from autocontrastive_gen.generation.batches import pad, pad_token

    room, parts = getattr(model.config, "max_position_embeddings", None), []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            encoded = [tokenizer(text)["input_ids"][:room] for text in texts[start : start + batch_size]]
            ids, mask = pad(encoded, pad_token(tokenizer), "right", model.device)
            output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            rows = torch.arange(len(ids), device=ids.device)
            parts.append(output.hidden_states[-1][rows, mask.sum(1) - 1].float().cpu().numpy())
    return np.concatenate(parts)


def mauve(machine: np.ndarray, human: np.ndarray, seed: int) -> float:
    """MAUVE of machine against human texts (Pillutla et al. 2021, https://arxiv.org/abs/2102.01454) by features (n, d).

    Raises:
        ValueError: the ``mauve`` extra is not installed.
    """
    try:
        from mauve import compute_mauve
    except ModuleNotFoundError:
        raise InputError(
            "score.mauve: true needs mauve-text; install the extra `mauve` of this package, or set it to false"
        ) from None
    return float(compute_mauve(p_features=machine, q_features=human, seed=seed % 2**31, verbose=False).mauve)
