"""Models that turn texts into vectors: sentence encoders, and the last states of a causal model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autocontrastive_gen.foundation.errors import mendable


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
