"""The source of the user's own functions, which parameters name as ``module:function``.

The plan holds a digest of the module's source and of the user's modules that it imports, so an edit runs the cells that
use the function, and no others. For DVC to notice the edit, ``fetch`` keeps a link to each of these files in the folder
``conf/functions``, which DVC watches.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import InputError

FOLDER = Path("conf/functions")


def sources(function: str) -> dict[str, Path]:
    """Module name -> file, for the module of ``module:function`` and the user's own modules that it imports.

    Modules of Python, of installed packages and of this package are not the user's own.

    Raises:
        InputError: there is no such module, or it is not a Python source file.
    """
    start = function.partition(":")[0]
    file = _find(start)
    if file is None:
        raise InputError(
            f"{function!r}: there is no module {start!r} on the Python path (the project's folder is on it)"
        )
    found, todo = {start: file}, [start]
    while todo:
        name = todo.pop()
        for imported in _imports(name, found[name]):
            file = _find(imported) if imported not in found else None
            if file is not None and _is_own(file):
                found[imported] = file
                todo.append(imported)
    return {name: file for name, file in sorted(found.items()) if name == start or _is_own(file)}


def digest(function: str) -> str:
    """sha256 of the sources behind ``module:function``; it changes with any edit of them."""
    return fingerprint({name: file_sha256(file) for name, file in sources(function).items()})


def link(functions: Iterable[str], folder: Path = FOLDER) -> None:
    """Make ``folder`` hold a link to each source behind ``functions``, and no other links."""
    files = {f"{name}.py": file for function in functions for name, file in sources(function).items()}
    if not files and not folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for present in folder.iterdir():
        if present.is_symlink() and present.name not in files:
            present.unlink()
    for name, file in files.items():
        inside = file.is_relative_to(Path.cwd().resolve())
        target = os.path.relpath(file, folder.resolve()) if inside else str(file)
        place = folder / name
        if not (place.is_symlink() and os.readlink(place) == target):
            place.unlink(missing_ok=True)
            place.symlink_to(target)


def _find(name: str) -> Path | None:
    """The source file of a module, found without importing it, or None."""
    path: list[str] | None = [os.getcwd() if entry == "" else entry for entry in [*sys.path, ""]]
    spec, full = None, ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        spec = importlib.machinery.PathFinder.find_spec(full, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return Path(spec.origin).resolve() if spec and spec.origin and spec.origin.endswith(".py") else None


def _imports(name: str, file: Path) -> set[str]:
    """Modules that a source file imports, anywhere in it, with the packages that contain them."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not valid Python: {error}") from None
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    parts = {part for module in found for part in _with_parents(module)}
    return {module for module in parts if module and module != name}


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _is_own(file: Path) -> bool:
    package = Path(__file__).resolve().parents[1]
    python = (sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    installed = {*site.getsitepackages(), site.getusersitepackages(), *python}
    return not any(file.is_relative_to(Path(folder).resolve()) for folder in (package, *installed))
