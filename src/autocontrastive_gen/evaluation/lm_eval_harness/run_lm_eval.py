"""lm-eval's own command, with multi-exit models known to it::

    python -m autocontrastive_gen.evaluation.lm_eval_harness.run_lm_eval \\
        --tasks lambada_openai \\
        --model multi_exit_gpt \\
        --model_args pretrained=gpt2-medium-multiexit,use_original_head=False,contrast_layer_indices='original;12'

Several processes share the items out: ``accelerate launch --multi_gpu --num_processes 2 -m autocontrastive_gen...``, on
machines without a GPU, too (``--cpu`` starts a single process there).
"""

from lm_eval.__main__ import cli_evaluate

from autocontrastive_gen.evaluation.lm_eval_harness import adapter  # noqa: F401  registers the models

if __name__ == "__main__":
    cli_evaluate()
