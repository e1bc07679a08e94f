"""Every command and every piece of Python in README.md and docs/ is run, on the smoke profile.

The fenced blocks of bash and python are run in order, document by document, in a finished clone; names of the laptop
profile become those of smoke. A block under a comment ``<!-- not run: reason -->`` is left out, for one of the reasons
below. Commands within a line are run too, unless a block has them or there is a reason to leave them out.
"""

import csv
import os
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from autocontrastive_gen.experiment.params import check, load_profile

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REASONS = {
    "needs the hub",
    "needs a GPU",
    "needs a cluster",
    "needs a server",
    "needs raters",
    "opens a browser",
    "sets up",
    "long",
}
SKIPPED = r"(?:<!-- not run: (?P<reason>[^>]*) -->\n+)?"
BLOCK = re.compile(SKIPPED + r"```(?P<language>bash|python)\n(?P<code>.*?)```", re.DOTALL)
FENCE = re.compile(r"^```(\w*)\n.*?^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:acd|dvc|make|accelerate|python -m) [^`\n]+)`")  # pip would change what runs the tests
NOT_RUN_INLINE = {
    "make ui": "opens a browser",
    "acd ui": "opens a browser",
    "acd explore --trial trial.json": "opens a browser",
    "acd generate --model NAME --trial trial.json": "tests/cli/test_generate_command.py continues a trial",
    "acd COMMAND --help": "stands for the commands",
    "python -m stages.NAME": "stands for the commands",
    "python -m benchmarks.prompt_lookup": "needs the model of the laptop profile",
    "dvc exp apply": "needs an experiment",
    "acd --install-completion": "changes the user's shell",
    "make docs": "tests/test_site.py builds the site",
    "python -m build": "tests/test_distribution.py builds the wheel",
    "dvc repro train@gpt2-medium": "needs the hub",
    "dvc exp run -S contrasts.acd.alpha=0.2": "docs/tracking.md runs it with a name",
    "acd compare A B": "docs/tracking.md runs it with names",
}
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
def test_every_block_is_of_a_kind_that_is_checked(document):
    for language in FENCE.findall(document.read_text()):
        assert language in ("bash", "python", "yaml", "text"), f"a block of {language or 'no language'}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def inline_commands() -> list[str]:
    """Commands within lines that no block contains, in order."""
    fenced = "\n".join(block["code"] for document in DOCUMENTS for block in blocks(document))
    found = [command for document in DOCUMENTS for command in INLINE.findall(FENCE.sub("", document.read_text()))]
    return [command for command in dict.fromkeys(found) if command not in fenced]


def test_commands_left_out_are_there():
    assert NOT_RUN_INLINE.keys() <= set(inline_commands())


@pytest.mark.slow
def test_inline_commands(clone):
    """Each of them by itself: one that puts another profile into params.yaml does not decide what the next one runs."""
    link_environment(clone)
    parameters = clone.folder / "params.yaml"
    before = parameters.read_text()
    for command in inline_commands():
        if command not in NOT_RUN_INLINE:
            clone.run("bash", "-euc", small(command))
            parameters.write_text(before)


def results_table() -> str:
    """The table of README's results, from the committed tables of the study."""
    overview, benchmark = (
        list(csv.DictReader((ROOT / f"reports/study/tables/{name}.csv").open())) for name in ("overview", "benchmark")
    )
    words = {row["setting"]: row for row in benchmark if (row["task"], row["metric"]) == ("last-word", "acc")}
    assert len(overview) > 10 and len(words) > 5

    def number(row: dict, key: str) -> str:
        if not row.get(key):
            return "–"
        value, low, high = (f"{float(row[name]):.2f}" for name in (key, f"{key}_low", f"{key}_high"))
        return f"{value} [{low}, {high}]"

    rows = []
    for row in overview:
        answers = words.get("original" if row["setting"] == "greedy" else row["setting"].removeprefix("greedy-"), {})
        # the layer of `acd` is chosen apart for texts and benchmarks: a row holds results of one layer only
        alike = answers if answers.get("lower") == row["lower"] else {}
        scores = [number(row, "diversity"), number(row, "coherence"), number(alike, "score")]
        rows.append([f"`{row['setting']}`", row["lower"] or "–", *scores])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_results_in_readme_are_the_committed_ones():
    """After a new run of the study: UPDATE_GOLDEN=1 pytest tests/pipeline/test_docs.py."""
    text = (ROOT / "README.md").read_text()
    pattern = re.compile(r"(?<=<!-- results -->\n)(.*?--:\|\n)(.*?)(?=<!-- end -->)", re.DOTALL)
    if os.environ.get("UPDATE_GOLDEN"):
        text = pattern.sub(lambda found: found[1] + results_table(), text)
        (ROOT / "README.md").write_text(text)
    assert pattern.search(text)[2] == results_table()


def link_environment(clone) -> None:
    """The environment that runs this test, in the place where ``make`` sets up one."""
    venv = clone.folder / ".venv"
    venv.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (venv / part.name).symlink_to(part)
    (venv / ".ready").touch()


def run_document(document: Path, clone) -> None:
    link_environment(clone)
    shown = [block for block in blocks(document) if not block["reason"]]
    python = []
    for block, following in zip_longest(shown, shown[1:]):
        if block["language"] == "python":
            python.append(small(block["code"]))
            if following and following["language"] == "python":
                continue  # each piece goes on from those before it
            command = [sys.executable, "-c", "\n".join(python)]
        else:
            command = ["bash", "-euo", "pipefail", "-c", small(block["code"])]
        done = subprocess.run(command, cwd=clone.folder, env=clone.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{document.name}:\n{block['code']}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", ["```bash\nfalse | true\n```", "```python\nassert False\n```"])
def test_a_block_that_fails_fails(tmp_path, block):
    (tmp_path / "made.md").write_text(f"{block}\n")
    clone = SimpleNamespace(folder=tmp_path, environment=dict(os.environ))
    with pytest.raises(AssertionError, match="made.md"):
        run_document(tmp_path / "made.md", clone)


def test_quick_start(clone):
    run_document(ROOT / "README.md", clone)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS[1:], ids=lambda path: path.name)
def test_document(document, clone):
    run_document(document, clone)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_parameters_shown_are_valid(document):
    """Each yaml block, merged into the laptop profile, is a valid parameter file."""
    for block in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
        content = load_profile("laptop").model_dump(mode="json")
        check(merged(content, yaml.safe_load(block)), document.name)


def merged(content: dict, shown: dict) -> dict:
    for key, value in shown.items():
        part = isinstance(value, dict) and "method" not in value  # an entry of a catalogue is whole
        content[key] = merged(content.get(key, {}), value) if part else value
    return content
