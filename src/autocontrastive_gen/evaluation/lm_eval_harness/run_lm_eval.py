"""lm-eval's own command, with multi-exit models known to it::

    python -m autocontrastive_gen.evaluation.lm_eval_harness.run_lm_eval \\
        --tasks lambada_openai \\
        --model multi_exit_gpt \\
        --model_args pretrained=gpt2-medium-multiexit,use_original_head=False,contrast_layer_indices='original;12'

Several processes share the items out: ``accelerate launch --multi_gpu --num_processes 2 -m autocontrastive_gen...``, on
machines without a GPU, too (``--cpu`` starts a single process there).
"""

import re

from lm_eval.__main__ import cli_evaluate

from autocontrastive_gen.evaluation.lm_eval_harness import adapter
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.errors import InputError, mendable


def main() -> None:
    """Bad input ends as in every command of the project: one message, exit code 2."""
    try:
        with mendable("lm-eval"):
            cli_evaluate()
    except (TypeError, AttributeError) as error:
        if not _ARGUMENT.search(str(error)):
            raise
        said = str(error).replace("module 'torch' has no attribute", "dtype: torch has no type")
        raise InputError(f"--model_args: {said}; of multi-exit models: {', '.join(adapter.ARGUMENTS)}") from error


_ARGUMENT = re.compile("unexpected keyword argument|missing .* required .*argument|module 'torch' has no attribute")
"""What Python and transformers say of an unknown name, of ``pretrained`` left out, and of an unknown dtype."""


if __name__ == "__main__":
    run(main, "run_lm_eval")
