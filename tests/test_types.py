"""What a type checker says of a user's program: it knows the library's types, and points at wrong ones."""

import subprocess
import sys

import pytest

PROGRAM = """
from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration, TrainSettings, fit_exits

exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=[2, 4])
reveal_type(exits.lm_head_layer_indices)
model = AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=exits)
reveal_type(model.exit_layers)
fitted = fit_exits(model, None, ["a text"], folder="here", settings=TrainSettings(epochs=2))
reveal_type(fitted.quality)
fit_exits(model, None, 3)
TrainSettings(method="best")
MultiExitConfiguration(output_layer_index=2.5)
fitted.qualities
"""


@pytest.mark.slow
def test_a_program_that_uses_the_library(root, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", root / "pyproject.toml", tmp_path / "program.py"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    said = {}
    for line in done.stdout.splitlines()[:-1]:
        _, number, kind, text = line.split(":", 3)
        said.setdefault(int(number), []).append(f"{kind.strip()}: {text.strip()}")
    lines = {number: text for number, text in enumerate(PROGRAM.splitlines(), 1) if number in said}
    assert 'note: Revealed type is "tuple[int, ...] | None"' in said[5]
    assert 'note: Revealed type is "tuple[int, ...]"' in said[7]
    assert 'note: Revealed type is "dict[str, dict[str, dict[str, float]]]"' in said[9]
    wrong = {text for number, text in lines.items() if any(item.startswith("error") for item in said[number])}
    assert wrong == set(PROGRAM.splitlines()[9:13]), done.stdout
