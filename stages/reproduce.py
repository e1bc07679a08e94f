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
from stages import profile as parameters
from stages import results

PUSH = "Use `dvc push`"
"""DVC's last words, left out since it says them where there is no remote, too; with one, docs/sharing.md says how."""


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
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stdout
    try:
        while True:
            try:
                for line in process.stdout:
                    if not line.startswith(PUSH):
                        print(line, end="", flush=True)
                return process.wait()
            except KeyboardInterrupt:  # DVC and the stage get Ctrl-C, too, and need a moment to keep what is finished
                continue
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


app = command(main, "reproduce", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.reproduce")
