"""Models whose instance has a forward of its own, as accelerate's hooks give it (``device_map``, offloading)."""

import functools

from transformers import PreTrainedModel

from autocontrastive_gen.foundation.errors import InputError


def reach_forward(model: PreTrainedModel) -> None:
    """Where the instance has a forward of its own, make it call that of the class.

    Raises:
        InputError: something else than accelerate replaced the forward.
    """
    if "_old_forward" in model.__dict__:
        model._old_forward = type(model).forward.__get__(model)
    elif "forward" in model.__dict__:
        raise InputError(f"{type(model).__name__}: its forward was replaced on this instance; add exits before that")


def rebind_forward(view: PreTrainedModel) -> None:
    """Make the forward of a shallow copy, which accelerate has bound to the model it was copied from, run the copy."""
    hooked = view.__dict__.get("forward")
    if "_old_forward" in view.__dict__ and isinstance(hooked, functools.partial):
        view._old_forward = type(view).forward.__get__(view)
        view.forward = functools.update_wrapper(functools.partial(hooked.func, view), view._old_forward)
