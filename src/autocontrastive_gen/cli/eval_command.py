"""``acd eval``: lm-eval, with multi-exit models known to it."""

from __future__ import annotations

import sys

import typer

from autocontrastive_gen.foundation.command_line import HELP_OPTIONS, command, pipeline_packages


def evaluate(context: typer.Context) -> None:
    """Run benchmarks with a multi-exit model.

    All arguments are those of lm-eval; `acd eval run --help` lists them. With `--model multi_exit_hf`, `--model_args`
    takes exits, layers and contrast beside the arguments of lm-eval's own `hf`.

    Examples:

        acd eval --tasks lambada_openai --model multi_exit_hf --output_path results \\
            --model_args "pretrained=gpt2,use_original_head=False,contrast_layer_indices='original;9'"
        acd eval ls tasks
    """
    if not context.args:
        typer.echo(context.get_help())
        return
    with pipeline_packages("acd eval"):
        from autocontrastive_gen.evaluation.lm_eval_harness.run_lm_eval import main
    sys.argv = ["acd eval", *context.args]
    main()


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
app = command(evaluate, "eval", context_settings={**HELP_OPTIONS, **PASSED_ON}, options_metavar="ARGUMENTS OF LM-EVAL")
