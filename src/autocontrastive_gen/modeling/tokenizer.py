"""The tokenizer of a model, or one message."""

from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.errors import mendable


def load_tokenizer(source: str | Path, local_files_only: bool = False) -> Any:
    """The tokenizer in a folder or of a name on the hub; code that comes with it never runs.

    Raises:
        FileError, InputError: there is none, or it cannot be loaded.
    """
    from transformers import AutoTokenizer

    with mendable(f"{source}: cannot load a tokenizer from it"):
        return AutoTokenizer.from_pretrained(source, local_files_only=local_files_only, trust_remote_code=False)
