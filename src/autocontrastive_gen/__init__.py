"""Language models with exits at intermediate layers, and decoding that contrasts them.

The names below are loaded when they are first used: importing the package alone does not import torch.

>>> from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
>>> from transformers import AutoTokenizer
>>> setting = MultiExitConfiguration(
...     "SHARED_PROJECTION_DIRECT", use_original_head=False, contrast_layer_indices=("original", 3)
... )
>>> model = AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=setting)
>>> tokenizer = AutoTokenizer.from_pretrained("gpt2")
>>> prompt = tokenizer("humpty dumpty sat on", return_tensors="pt")
>>> text = tokenizer.decode(model.generate(**prompt, max_new_tokens=5)[0])
>>> text.startswith("humpty dumpty sat on")
True
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
    from autocontrastive_gen.foundation.errors import FileError, InputError, UserError
    from autocontrastive_gen.generation.cache import growing_cache
    from autocontrastive_gen.inspection.lens_reading import lens
    from autocontrastive_gen.inspection.lens_view import Lens
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
    from autocontrastive_gen.modeling.custom_generate import contrast
    from autocontrastive_gen.modeling.early_exit import EarlyExit
    from autocontrastive_gen.modeling.multi_exit import MultiExitModel
    from autocontrastive_gen.modeling.packed import pack
    from autocontrastive_gen.training.fine_tune import fine_tune
    from autocontrastive_gen.training.fit import Fitted, fit_exits
    from autocontrastive_gen.training.train_settings import CastFit, SampledSoftmax, TrainSettings

    __version__: str

__all__ = [
    "AutoMultiExitModel",
    "CastFit",
    "EarlyExit",
    "FileError",
    "Fitted",
    "InputError",
    "Lens",
    "MultiExitConfiguration",
    "MultiExitModel",
    "SampledSoftmax",
    "TrainSettings",
    "UserError",
    "VocabularyProjectionMode",
    "__version__",
    "calculate_contrasted_logits",
    "contrast",
    "fine_tune",
    "fit_exits",
    "growing_cache",
    "lens",
    "pack",
]

_MODULES = {
    "contrast_calculation": ("calculate_contrasted_logits",),
    "foundation.errors": ("FileError", "InputError", "UserError"),
    "inspection.lens_reading": ("lens",),
    "inspection.lens_view": ("Lens",),
    "modeling.auto_model": ("AutoMultiExitModel",),
    "modeling.configuration": ("MultiExitConfiguration", "VocabularyProjectionMode"),
    "modeling.custom_generate": ("contrast",),
    "modeling.early_exit": ("EarlyExit",),
    "generation.cache": ("growing_cache",),
    "modeling.multi_exit": ("MultiExitModel",),
    "modeling.packed": ("pack",),
    "training.fine_tune": ("fine_tune",),
    "training.fit": ("Fitted", "fit_exits"),
    "training.train_settings": ("CastFit", "SampledSoftmax", "TrainSettings"),
}
"""Where the public names are defined."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("autocontrastive-suite")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
