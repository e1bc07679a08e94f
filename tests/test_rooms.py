"""The house: rooms stand on one another in one order, and every module has a name of its own."""

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = "autocontrastive_gen"
ROOMS = (
    "foundation",
    "modeling",
    "training",
    "generation",
    "inspection",
    "evaluation",
    "experiment",
    "data",
    "pipeline",
    "report",
    "review",
    "cli",
)
"""From the bottom to the top: a room imports from itself and from those before it."""


def modules(root: Path) -> list[Path]:
    return sorted(path for path in (root / "src" / PACKAGE).rglob("*.py") if path.name != "__init__.py")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE + "."):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith(PACKAGE + ".")}
    return found


def test_every_folder_is_a_room(root):
    folders = {path.name for path in (root / "src" / PACKAGE).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)


def test_imports_go_one_way(root):
    wrong = []
    for path in modules(root):
        room = path.relative_to(root / "src" / PACKAGE).parts[0]
        if room not in ROOMS:  # contrast_calculation.py, the name that users of the reference know
            continue
        for name in imported(path):
            other = name.split(".")[1]
            if other in ROOMS and ROOMS.index(other) > ROOMS.index(room):
                wrong.append(f"{path.relative_to(root)} imports {name}")
    assert not wrong


def test_no_two_modules_share_a_name(root):
    names = Counter(path.stem for path in modules(root))
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("folder", ["src", "stages", "benchmarks"])
def test_nobody_reaches_through_an_underscore(root, folder):
    """No module uses a private name of another one, by import or by attribute of an imported module."""
    wrong = []
    for path in sorted((root / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        mine = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                mine |= {alias.asname or alias.name for alias in node.names}
                wrong += [f"{path}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in mine:
                if node.attr.startswith("_") and not node.attr.startswith("__"):
                    wrong.append(f"{path}: {node.value.id}.{node.attr}")
    assert not wrong
