"""The classes of transformers with exits mixed in."""

import functools
import inspect
from typing import Any

from transformers import PreTrainedModel

from autocontrastive_gen.modeling.inputs import explained
from autocontrastive_gen.modeling.multi_exit import MultiExitModel


def multi_exit_class(plain: type[PreTrainedModel]) -> type[MultiExitModel]:
    """The class of a family with exits mixed in.

    It has the name of the plain class, by which transformers, accelerate and peft look families up, so that a saved
    model also opens as the plain one.
    """
    return _mixed(plain)  # type: ignore[arg-type]  # mypy takes a class with a metaclass for unhashable


@functools.cache
def _mixed(plain: Any) -> Any:
    if issubclass(plain, MultiExitModel):
        return plain

    @functools.wraps(plain.forward)  # generate, Trainer and lm-eval read the signature
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with explained(self, dict(zip(self._argument_names, args, strict=False)) | kwargs):
            return self.exit_forward(args, kwargs)

    def reduced(self: Any) -> tuple:
        return _blank, (self.plain_class,), self.__dict__

    parameters = list(inspect.signature(plain.forward).parameters.values())[1:]
    namespace = {
        "plain_class": plain,
        "forward": forward,
        "__reduce__": reduced,
        "_argument_names": tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD),
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": MultiExitModel.__doc__,
    }
    return type(plain.__name__, (MultiExitModel, plain), namespace)


def _blank(plain: type[PreTrainedModel]) -> MultiExitModel:
    """An empty instance, for pickle and copy."""
    cls = multi_exit_class(plain)
    return cls.__new__(cls)
