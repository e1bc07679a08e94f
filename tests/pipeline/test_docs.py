"""Every command and every piece of Python in README.md and docs/ is run, on the smoke profile.

A fenced block of bash or python is run in order, document by document, in a finished clone; the laptop profile's names
become smoke's. A block under a comment ``<!-- not run: reason -->`` is left out, for one of the reasons below.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autocontrastive_gen.experiment.params import check

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REASONS = {"needs the hub", "needs a GPU", "needs a cluster", "needs a server", "opens a browser", "sets up", "long"}
SKIPPED = r"(?:<!-- not run: (?P<reason>[^>]*) -->\n+)?"
BLOCK = re.compile(SKIPPED + r"```(?P<language>bash|python)\n(?P<code>.*?)```", re.DOTALL)
SMALL = [
    (r"\bmake reproduce$", "make reproduce PROFILE=smoke"),
    (r"\blaptop\b", "smoke"),
    (r"\bsmollm2\b", "tiny"),
    (r"\bwikipedia\b", "made-a"),
    (r"(?<![\d.])(15|20)(?![\d.])", "2"),
    (r"(?<![\d.])(25|27)(?![\d.])", "4"),
]


def blocks(document: Path) -> list[re.Match]:
    return list(BLOCK.finditer(document.read_text()))


def small(code: str) -> str:
    for pattern, replacement in SMALL:
        code = re.sub(pattern, replacement, code, flags=re.MULTILINE)
    return code


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_left_out_say_why(document):
    for block in blocks(document):
        assert block["reason"] is None or block["reason"] in REASONS, block["reason"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists() or target.startswith("reports/"), target


def run_document(document: Path, clone) -> None:
    # as `make` would have set it up: the environment that runs this test
    venv = clone.folder / ".venv"
    venv.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (venv / part.name).symlink_to(part)
    (venv / ".ready").touch()
    python = []
    for block in blocks(document):
        if block["reason"]:
            continue
        if block["language"] == "python":
            python.append(small(block["code"]))
            command = [sys.executable, "-c", "\n".join(python)]
        else:
            command = ["bash", "-euo", "pipefail", "-c", small(block["code"])]
        done = subprocess.run(command, cwd=clone.folder, env=clone.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{document.name}:\n{block['code']}\n{done.stdout}\n{done.stderr}"


def test_quick_start(clone):
    run_document(ROOT / "README.md", clone)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS[1:], ids=lambda path: path.name)
def test_document(document, clone):
    run_document(document, clone)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_parameters_shown_are_valid(document):
    """Each yaml block, merged into the laptop profile, is a parameter file without fault."""
    for block in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
        content = yaml.safe_load((ROOT / "conf/profiles/laptop.yaml").read_text())
        check(merged(content, yaml.safe_load(block)), document.name)


def merged(content: dict, shown: dict) -> dict:
    for key, value in shown.items():
        content[key] = merged(content.get(key, {}), value) if isinstance(value, dict) else value
    return content
