"""dvc.yaml is right: each stage depends on the files that it imports."""

import ast
from pathlib import Path

import pytest
import yaml

from autocontrastive_gen.experiment.paths import STAGES

PACKAGE = "autocontrastive_gen"
FREE = {
    f"src/{PACKAGE}/{file}.py"
    for file in (
        "experiment/asset_schema",
        "experiment/cell_command",
        "experiment/checks",
        "experiment/launch",
        "experiment/outdated",
        "experiment/params",
        "experiment/paths",
        "experiment/plan",
        "experiment/plan_file",
        "experiment/run_progress",
        "experiment/settings",
        "foundation/command_line",
        "foundation/commands",
        "foundation/console",
        "foundation/cost",
        "foundation/environment",
        "foundation/errors",
        "foundation/processes",
        "foundation/progress",
    )
}
"""Files that change no byte of a result: parameters and names reach a stage through its plan, the rest is messages."""


@pytest.fixture(scope="module")
def definition(root):
    return yaml.safe_load((root / "dvc.yaml").read_text())["stages"]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.split(".")[0] in (PACKAGE, "stages")}


def closure(root: Path, start: Path) -> set[str]:
    """Files of the project that a file imports, directly or indirectly, except the free ones."""
    found, todo = set(), [start]
    while todo:
        for name in imports(todo.pop()):
            base = root / ("src" if name.startswith(PACKAGE) else "") / name.replace(".", "/")
            file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
            relative = str(file.relative_to(root))
            if file.exists() and file.stat().st_size and relative not in found and relative not in FREE:
                found.add(relative)
                todo.append(file)
    return found


def test_the_stages_are_the_fixed_ones(definition):
    assert tuple(definition) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_what_it_imports(root, definition, stage):
    deps = definition[stage]["deps"]
    missing = {
        file
        for file in closure(root, root / f"stages/{stage}.py")
        if not any(file == dep or file.startswith(dep + "/") for dep in deps)
    }
    assert not missing, f"add to the deps of {stage} in dvc.yaml"
    assert f"stages/{stage}.py" in deps


@pytest.mark.parametrize("stage", STAGES)
def test_code_that_a_stage_depends_on_exists(root, definition, stage):
    for dep in definition[stage]["deps"]:
        assert dep.startswith("runs/") or dep.startswith("reports/") or (root / dep).exists(), dep
