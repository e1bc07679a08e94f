"""What mkdocs publishes: files of the repository under their own paths, so that one link serves GitHub and the site."""

from __future__ import annotations

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PUBLISHED = (
    "*.md",
    "CITATION.cff",
    "LICENSE",
    "pyproject.toml",
    "conf/accelerate/*",
    "docs/**/*",
    "examples/*.py",
    "reports/**/*",
)


class Notebook(File):
    """A notebook as a page: its text as it is, its code as blocks."""

    def is_documentation_page(self) -> bool:
        return True

    @property
    def content_string(self) -> str:
        return as_markdown(json.loads(Path(self.abs_src_path).read_text(encoding="utf-8")))


def as_markdown(notebook: dict) -> str:
    """Text and code of a notebook; outputs are left out."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """In place of those of ``docs_dir``, the published files of the repository; the theme's stay."""
    root = Path(config.config_file_path).parent
    theme = [file for file in files if file.src_dir != config.docs_dir]
    return Files([*theme, *(_file(path, root, config) for path in published(root))])


def published(root: Path) -> list[Path]:
    """Published files, relative to the repository's root."""
    found = {path.relative_to(root) for pattern in PUBLISHED for path in root.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts and path.name != Path(__file__).name)


def _file(path: Path, root: Path, config: MkDocsConfig) -> File:
    kind = Notebook if path.suffix == ".ipynb" else File
    return kind(path.as_posix(), str(root), config.site_dir, config.use_directory_urls)
