"""Run the pipeline with params.yaml, or with a profile, and sum up the results. This is not a stage of the pipeline.

What is up to date does not run again. After an interruption, the same command continues.

Examples:

    acd reproduce
    acd reproduce --profile smoke
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.experiment.params import profiles
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.console import VERBOSE
from stages import profile as parameters
from stages import results

ASIDES = ("Use `dvc push`", "Updating lock file", "> ", "To enable auto staging", "\tdvc config core.autostage", "\n")
"""How the lines of DVC begin that are left out: the hint at a remote comes where there is none, too (docs/sharing.md),
and the others stand between one cell's result and the next. ``AUTOCONTRASTIVE_VERBOSE=1`` shows them."""


def main(
    profile: Annotated[
        str | None, typer.Option(help="put this profile into params.yaml first", autocompletion=profiles)
    ] = None,
) -> None:
    if profile:
        parameters.use(profile)
    else:
        parameters.check()
    if code := repro():
        raise SystemExit(code)
    results.main()


def repro() -> int:
    """Exit code of ``dvc repro``, whose stages run with this interpreter."""
    verbose = os.environ.get(VERBOSE, "") not in ("", "0")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        # unbuffered: into a pipe, Python would hold lines back until a block of them is full
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        try:
            while True:
                try:
                    for line in process.stdout:
                        if verbose or not line.startswith(ASIDES):
                            print(line, end="", flush=True)
                    return process.wait()
                except KeyboardInterrupt:
                    continue  # DVC and the stage get Ctrl-C, too, and need a moment to keep what is finished
        finally:
            if process.poll() is None:
                process.terminate()


app = command(main, "reproduce", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.reproduce")
