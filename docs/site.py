"""What mkdocs publishes: files of the repository under their own paths, so that one link serves GitHub and the site."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import chdir
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

STATE = '<span id="state" hidden>'
"""Where the page of a report says whether its code has moved since; only the site knows, so that is where it shows."""


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


def on_post_build(config: MkDocsConfig) -> None:
    """Complete the pages of committed reports: they link to their tables' Markdown as it is, which is a page here too,
    and those that have a lock of their own say whether the code has moved since.
    """
    root = Path(config.config_file_path).parent
    for table in root.glob("reports/**/*.md"):
        shutil.copy(table, Path(config.site_dir) / table.relative_to(root))
    for lock in root.glob("reports/*/dvc.lock"):
        page = Path(config.site_dir) / lock.relative_to(root).with_name("index.html")
        page.write_text(with_state(page.read_text(encoding="utf-8"), state_of(root, lock)), encoding="utf-8")


def state_of(root: Path, lock: Path) -> str:
    """A sentence on the code of a report's run, by the digests in its lock."""
    sys.path.insert(0, str(root / "src"))
    from autocontrastive_gen.experiment.lock import read_lock
    from autocontrastive_gen.experiment.outdated import moved

    with chdir(root):
        stages = moved(read_lock(lock))
    if not stages:
        return "Its code is that of this site."
    return f"The code of these stages has moved since: {', '.join(stages)}."


def with_state(page: str, sentence: str) -> str:
    """The page of a report with the sentence beside the commit that it names."""
    start, mark, end = page.partition(STATE)
    if not mark:
        raise ValueError(f"the page of a report has no place for its state: {STATE}")
    return f"{start}{mark[:-1].replace(' hidden', '')}>{sentence}{end}"
