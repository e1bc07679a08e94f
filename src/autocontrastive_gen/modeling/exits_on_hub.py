"""Exits pushed to the Hugging Face hub; ``from_pretrained(base, exits="<name>")`` loads them from there."""

from __future__ import annotations

import tempfile
from typing import Any

from huggingface_hub import HfApi

from autocontrastive_gen.foundation.errors import mendable


def push_exits(model: Any, repo_id: str, private: bool | None, token: str | None, **card: Any) -> str:
    """Create the repository if there is none, upload the exits with their card, and return its address.

    Args:
        model: a multi-exit model.
        repo_id: name on the hub, as "me/exits-of-gpt2".
        private: whether a new repository is private; None: what its owner has set as default.
        token: of the hub; None: that of ``hf auth login`` or of HF_TOKEN.
        **card: "metrics" and "licence", as in ``save_exits``.

    Raises:
        FileError, InputError: the hub refuses or can't be reached; the message is the hub's.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save_exits(folder, source=repo_id, **card)
        api = HfApi(token=token)
        # Any exception: those of the http library that the hub's client uses have no base that it exports.
        with mendable(f"exits {repo_id}", (Exception,)):
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload exits")
    return str(address)
