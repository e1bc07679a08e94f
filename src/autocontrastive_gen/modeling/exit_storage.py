"""What a model with exits does to store and to load them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocontrastive_gen.modeling import checkpoint, heads
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.exits_card import Metrics, card_of
from autocontrastive_gen.modeling.exits_on_hub import push_exits

if TYPE_CHECKING:
    from transformers import PreTrainedModel as Base
else:
    Base = object


class ExitStorage(Base):
    """Exits in a folder, in a whole checkpoint, and on the hub; a part of ``MultiExitModel``."""

    def save_exits(
        self,
        folder: str | os.PathLike,
        metrics: Metrics | None = None,
        licence: str | None = None,
        source: str | None = None,
    ) -> None:
        """Store the exits alone, with their mode, the identity of the base they were trained for, and a model card.

        Args:
            folder: where to.
            metrics: quality of the exits for the card, such as ``fit_exits(...).quality``.
            licence: of the base model; by default the one that its own card states, if there is one.
            source: the name of the exits on the hub, for the card's example.
        """
        self._require_anatomy()
        checkpoint.write_exits(self, folder)
        (Path(folder) / "README.md").write_text(card_of(self, source, metrics, licence), encoding="utf-8")

    def push_exits_to_hub(
        self,
        repo_id: str,
        metrics: Metrics | None = None,
        licence: str | None = None,
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Store the exits alone on the hub; ``from_pretrained(base, exits=repo_id)`` loads them.

        Args:
            repo_id: name on the hub, as "me/exits-of-gpt2"; the repository is created if there is none.
            metrics, licence: as for ``save_exits``.
            private: whether a new repository is private; by default, what its owner has set.
            token: of the hub; by default that of ``hf auth login`` or of HF_TOKEN.

        Returns:
            The address of the repository.

        Raises:
            FileError, InputError: the hub refuses; the message is the hub's.
        """
        return push_exits(self, repo_id, private, token, metrics=metrics, licence=licence)

    def load_exits(self, folder: str | os.PathLike) -> None:
        """Replace the exits with stored ones and return to the original head.

        Raises:
            FileError: files are missing or damaged.
            WrongBaseError: the exits belong to another base model.
        """
        self._require_anatomy()
        checkpoint.install_exits(self, checkpoint.read_exits(folder), str(folder))
        self._apply_setting(MultiExitConfiguration())

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Save as transformers does; config.json also identifies the base model of the exits."""
        if self._attached and heads.exit_modules(self):
            setattr(self.config, checkpoint.BASE_KEY, checkpoint.base_identity(self))
        super().save_pretrained(save_directory, *args, **kwargs)
