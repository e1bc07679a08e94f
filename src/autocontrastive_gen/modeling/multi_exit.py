"""The mixin that gives any language model of transformers exits at its intermediate layers."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_utils import slice_logits_to_keep

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.active_exits import (
    PLAIN,
    ActiveExits,
    ModelExits,
    PreviousSetting,
    activated,
    changed,
)
from autocontrastive_gen.modeling.anatomy import Anatomy, find_anatomy
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
from autocontrastive_gen.modeling.dispatched import rebind_forward
from autocontrastive_gen.modeling.early_exit import EarlyExitPass
from autocontrastive_gen.modeling.exit_loss import exit_loss
from autocontrastive_gen.modeling.exit_states import ExitStates, ModelLowers, upper_and_lowers
from autocontrastive_gen.modeling.exit_storage import ExitStorage
from autocontrastive_gen.modeling.heads import ExitHead
from autocontrastive_gen.modeling.inputs import explained
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit, depth_of
from autocontrastive_gen.modeling.self_drafting import with_draft
from autocontrastive_gen.modeling.trunk import tap_head, trunk_run, whole_trunk

Mode = VocabularyProjectionMode


if TYPE_CHECKING:

    class _Model(PreTrainedModel, GenerationMixin):
        """What the mixin is mixed into."""

else:
    _Model = object


class MultiExitModel(ExitStorage, _Model):
    """A language model with exits; ``multi_exit_class`` mixes it into a class of transformers.

    The family's own ``forward`` runs the trunk, so arguments, caches and outputs are those of the plain model; the
    mixin ends the trunk at the highest exit asked for, keeps the states of lower ones, and computes the logits.

    One model has one setting (``set_exits``). Threads may run a model at the same time; threads that want different
    settings take a ``copy.copy(model)`` each, which shares the weights.

    >>> from transformers import AutoTokenizer
    >>> from autocontrastive_gen import AutoMultiExitModel
    >>> exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
    >>> model = AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=exits)
    >>> prompt = AutoTokenizer.from_pretrained("gpt2")("humpty dumpty sat", return_tensors="pt")
    >>> with model.set_exits(output_layer_index=4):  # restored at the end
    ...     exit_logits = model(**prompt).logits
    >>> states = model.exit_states(**prompt, layers=(4,))
    >>> model.project_exit(states[4], 4).allclose(exit_logits, atol=1e-5)
    True
    """

    plain_class: type[PreTrainedModel]
    anatomy: Anatomy
    """Names of the model's parts; found when the model is given exits (``attach``)."""
    _setting: MultiExitConfiguration
    _argument_names: tuple[str, ...]
    """Positional arguments of the family's forward."""
    active_exits: ActiveExits = PLAIN
    """What a forward computes under the setting in use."""
    observer: Callable[[Tensor, ModelLowers], object] | None = None
    """Sees what each forward gives a contrast method."""
    tokens_per_layer: Counter
    """Tokens by the layer at which they ended under ``early_exit``, since the setting was made."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        if getattr(config, "lm_head_layer_indices", None):
            self.create_exits()

    def create_exits(self) -> None:
        """Give the model the exits that its configuration lists, in place of those it has.

        Raises:
            InputError: the model has no such layer.
        """
        layers, size = self.listed_layers, depth_of(self.config)
        beyond = [layer for layer in layers if not 1 <= layer <= size]
        if beyond:
            raise InputError(f"lm_head_layer_indices: the model has layers 1 to {size}, got {beyond}")
        heads.add_exits(self, self.projection_mode, layers, size)

    # what there is -------------------------------------------------------------------------------------------------
    @property
    def multi_exit_config(self) -> MultiExitConfiguration:
        """The setting in use, with mode and exits filled in."""
        self._require_anatomy()
        return self._setting

    @property
    def projection_mode(self) -> VocabularyProjectionMode:
        """How the exits project to the vocabulary."""
        return VocabularyProjectionMode[
            getattr(self.config, "vocab_projection_mode", Mode.LAYER_SPECIFIC_PROJECTION.name)
        ]

    @property
    def num_layers(self) -> int:
        """Number of blocks N; layer N is the last."""
        return self.anatomy.num_layers

    @property
    def exit_layers(self) -> tuple[int, ...]:
        """Layers with an exit, ascending."""
        layers = self.listed_layers
        if layers or self.projection_mode is not Mode.SHARED_PROJECTION_DIRECT:
            return layers
        return tuple(range(1, self.num_layers + 1))

    @property
    def listed_layers(self) -> tuple[int, ...]:
        """Layers with an exit of their own, as the model's configuration lists them, ascending."""
        return tuple(sorted(x for x in getattr(self.config, "lm_head_layer_indices", None) or () if x != ORIGINAL))

    def exit_head(self, exit_: Exit) -> ExitHead:
        """Cast and output matrix of an exit (a layer number or "original")."""
        self._exits.require("exit", exit_)
        return heads.exit_head(self, self.projection_mode, exit_, self.num_layers)

    def exit_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Layer (as a string) -> the parameters of its exit alone."""
        return {str(layer): list(module.parameters()) for layer, module in sorted(heads.exit_modules(self).items())}

    def freeze_trunk(self) -> None:
        """Only the exits take gradients from now on."""
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        for parameters in self.exit_parameters().values():
            for parameter in parameters:
                parameter.requires_grad_(True)

    # setting -------------------------------------------------------------------------------------------------------
    def set_exits(self, config: "MultiExitConfiguration | PreviousSetting | None" = None, **fields: Any):
        """Change exit or contrast without reloading the model.

        Args:
            config: a whole setting; without it, ``fields`` change the setting in use.
            **fields: fields of ``MultiExitConfiguration``. Naming an exit turns the original head off, and the other
                way round: ``set_exits(output_layer_index=12)``, ``set_exits(contrast_layer_indices=("original", 12))``,
                ``set_exits()`` for the original head.

        Returns:
            The previous setting: pass it to ``set_exits``, or use it in a ``with`` statement to restore it at the end.

        Raises:
            InputError: the fields contradict each other, or the model has no such exit.
            TypeError: ``config`` is not a ``MultiExitConfiguration``.
        """
        if isinstance(config, PreviousSetting):
            config = config.config
        if not isinstance(config, MultiExitConfiguration | None):
            raise TypeError(
                f"set_exits({config!r}): give a MultiExitConfiguration, or fields by name, such as "
                "output_layer_index=12; set_exits() is the original head"
            )
        self._require_anatomy()
        previous = PreviousSetting(self, self._setting)
        self._apply_setting(changed(config or self._setting, fields, given=config is not None))
        return previous

    def _apply_setting(self, config: MultiExitConfiguration) -> None:
        asked = tuple(sorted(layer for layer in config.lm_head_layer_indices or () if layer != ORIGINAL))
        if asked and asked != self.listed_layers:
            raise InputError(
                f"lm_head_layer_indices={asked}: the model's exits are at {self.listed_layers or 'no layer'}; leave "
                "the layers out, or load the model again to create others"
            )
        if config.mode_is_given and config.vocab_projection_mode is not self.projection_mode:
            raise InputError(
                f"vocab_projection_mode={config.vocab_projection_mode.name}: the exits of this model are "
                f"{self.projection_mode.name}; leave the mode out, or load the model again"
            )
        active = activated(config, self._exits)
        self.anatomy.tap(self, self._tapped({self.layer_of(exit_) for exit_ in active.exits}))
        self._setting = config.replaced(
            vocab_projection_mode=self.projection_mode, lm_head_layer_indices=self.listed_layers or None
        )
        self.active_exits = active
        self.tokens_per_layer = Counter()
        if config.freeze_parameters:
            self.freeze_trunk()

    @property
    def _exits(self) -> ModelExits:
        return ModelExits(self.exit_layers, self.num_layers, self.projection_mode)

    def layer_of(self, exit_: Exit) -> int:
        """The layer whose state an exit projects."""
        return self.num_layers if exit_ == ORIGINAL else int(exit_)

    # computing -----------------------------------------------------------------------------------------------------
    def exit_states(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, layers: tuple[Exit, ...] = (), **inputs: Any
    ) -> ExitStates:
        """What the output matrix would see at each of ``layers``: layer -> final-normed states (B, T, d).

        One pass, which ends at the highest of the layers; gradients are on or off as the caller has them.

        Args:
            layers: layers or exits; by default those of all exits.

        Raises:
            InputError: the model has no such layer.
        """
        self._require_anatomy()
        numbers = tuple(sorted({self.layer_of(layer) for layer in layers or self.exit_layers}))
        if not numbers or not 1 <= numbers[0] <= numbers[-1] <= self.num_layers:
            raise InputError(f"layers: the model has layers 1 to {self.num_layers}, got {numbers}")
        kwargs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False, **inputs}
        return self._run_trunk(numbers, kwargs)[1]

    def upper_and_lowers(self, states: ExitStates) -> tuple[Tensor, ModelLowers]:
        """What the contrast method in use reads: the upper exit's logits (..., V), and the lower exits."""
        return upper_and_lowers(self, self.active_exits, states)

    def combined(self, states: ExitStates) -> Tensor:
        """Logits (..., V) of the setting in use, or its contrast's log-probabilities, from the states of a pass."""
        return self._combined(self.active_exits, states)

    def project_exit(self, normed_states: Tensor, exit_: Exit) -> Tensor:
        """Logits (..., V) of an exit from final-normed states (..., d); soft-capping and scaling included."""
        return self.finished_logits(self.exit_head(exit_).product(normed_states))

    def normed(self, layer: int, state: Tensor, final_norm: bool = True) -> Tensor:
        """What the output matrix would see at a layer whose block gave ``state`` (..., d), its translator included."""
        return self.anatomy.normed(self, heads.translated(self, layer, state), final_norm)

    def finished_logits(self, product: Tensor) -> Tensor:
        """Logits (..., V) from a product with an output matrix, soft-capped and scaled as in the plain model."""
        return self.anatomy.logits(product)

    def generate(self, inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """Generate as transformers does; with ``assistant_early_exit``, the exit of that layer drafts.

        Raises:
            InputError: prompts are empty, too long, or hold tokens that the model does not know; or there is no such
                exit.
        """
        args, kwargs = with_draft(self, args, kwargs)
        with explained(self, kwargs | {"inputs": inputs}):
            return super().generate(inputs, *args, **kwargs)

    def exit_forward(self, args: tuple, kwargs: dict) -> Any:
        """The forward of the setting in use; early exit, which looks at data at every exit, is left uncompiled."""
        run = self._exit_forward if self.active_exits.early is None else self._uncompiled_forward
        return run(args, kwargs)

    @torch.compiler.disable
    def _uncompiled_forward(self, args: tuple, kwargs: dict) -> Any:
        return self._exit_forward(args, kwargs)

    def _exit_forward(self, args: tuple, kwargs: dict) -> Any:
        active = self.active_exits
        trains = self._labels(args, kwargs) is not None and self._trains_exits
        if active == PLAIN and not trains:
            with whole_trunk():
                return self.plain_class.forward(self, *args, **kwargs)
        kwargs.update(zip(self._argument_names, args, strict=False))
        labels = kwargs.pop("labels", None)
        return_dict = kwargs.pop("return_dict", None)
        layers = {self.layer_of(exit_) for exit_ in active.exits}
        if labels is not None:
            layers.update(self.listed_layers if trains else ())
            if self.config.is_encoder_decoder and kwargs.get("decoder_input_ids") is None:
                kwargs["decoder_input_ids"] = self.prepare_decoder_input_ids_from_labels(labels)
        early = EarlyExitPass(self, active.early, kwargs) if active.early is not None and not self.training else None
        output, states = self._run_trunk(tuple(sorted(layers)), kwargs, early.wrap if early is not None else None)
        logits = self._combined(active, states) if early is None else early.finish(states[self.num_layers])
        loss = {}
        if labels is not None:
            loss = {"loss": exit_loss(self, logits, states if trains else None, labels, kwargs)}
        output = type(output)(**{**output, "logits": logits, **loss})
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    @property
    def _trains_exits(self) -> bool:
        """Whether the loss is that of the exits: in training, and in evaluation while nobody has chosen what to use."""
        return bool(self.listed_layers) and (self.training or not self.multi_exit_config.head_is_given)

    def _labels(self, args: tuple, kwargs: dict) -> Tensor | None:
        return {**dict(zip(self._argument_names, args, strict=False)), **kwargs}.get("labels")

    def _run_trunk(self, layers: tuple[int, ...], kwargs: dict, wrap: Callable | None = None) -> tuple[Any, ExitStates]:
        """The family's forward up to the highest of the (ascending) layers, and the states of each.

        The output matrix multiplies no rows: its input is the state of the highest layer.
        """
        top, tapped = layers[-1], self._tapped(layers)
        head = self.get_output_embeddings()
        tap_head(head)
        self.anatomy.tap(self, tapped)
        with trunk_run(top, tapped, head, wrap) as run:
            output = self.plain_class.forward(self, return_dict=True, **kwargs)
            states, top_state = run.states, run.head_input
        keep = kwargs.get("logits_to_keep", 0)
        kept = {layer: slice_logits_to_keep(states[layer], keep) for layer in tapped}
        return output, ExitStates(kept, {} if top in kept else {top: top_state}, self.normed)

    def _tapped(self, layers: Iterable[int]) -> tuple[int, ...]:
        """Of the layers that a pass reads, those whose states it keeps: the highest state is the output matrix's input
        unless a translator comes before the final norm."""
        *below, top = sorted(layers)
        return (*below, top) if heads.translator(self, top) is not None else tuple(below)

    def _combined(self, active: ActiveExits, states: ExitStates) -> Tensor:
        if active.method is None:
            return self.project_exit(states[self.layer_of(active.upper)], active.upper)
        upper, lowers = upper_and_lowers(self, active, states)
        if self.observer is not None:
            self.observer(upper, lowers)
        return active.method.evaluate(upper, lowers)

    # life ----------------------------------------------------------------------------------------------------------
    def attach(self, config: MultiExitConfiguration | None = None, anatomy: Anatomy | None = None) -> None:
        """Find the model's parts and apply a setting; called once the weights are loaded.

        Args:
            anatomy: the parts, if they were found in a model of the same structure before.
        """
        if anatomy is not None:
            anatomy.prepare(self)
        self.anatomy = anatomy or find_anatomy(self)
        self._apply_setting(config or MultiExitConfiguration())

    @property
    def _attached(self) -> bool:
        return "anatomy" in self.__dict__

    def _require_anatomy(self) -> None:
        if not self._attached:
            self.attach()

    def __copy__(self) -> "MultiExitModel":
        """A view with a setting of its own, which shares the weights."""
        view = type(self).__new__(type(self))
        view.__dict__.update(self.__dict__)
        rebind_forward(view)
        return view
