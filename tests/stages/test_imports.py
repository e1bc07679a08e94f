"""Stages that run no model start without the libraries of models."""

import subprocess
import sys

MODULES = (
    "stages.prepare", "autocontrastive_gen.data.preparation", "autocontrastive_gen.pipeline.analyse_cell",
    "stages.report", "autocontrastive_gen.report.render", "stages.results", "stages.track",
)  # fmt: skip


def test_stages_without_a_model_import_no_torch(root):
    code = (
        f"import sys, {', '.join(MODULES)}; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
