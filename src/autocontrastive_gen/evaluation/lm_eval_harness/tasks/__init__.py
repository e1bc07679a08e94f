"""Tasks that lm-eval lacks, in its own format: published protocols whose numbers mean something else than those of its
tasks. Outside the pipeline, ``--include_path`` with this folder adds them to lm-eval's."""

from pathlib import Path

FOLDER = Path(__file__).parent
