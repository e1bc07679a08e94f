"""What is published: the wheel and the source distribution, built offline, and what they say of themselves."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_string
from fnmatch import fnmatch

import pytest
import yaml
from packaging.requirements import Requirement

BUILD = "from setuptools import build_meta; build_meta.build_wheel('{0}'); build_meta.build_sdist('{0}')"
EXTRAS = {"pipeline", "explore", "docs", "mauve", "s3", "dev"}


@pytest.fixture(scope="module")
def built(root, tmp_path_factory):
    """Paths of a wheel and a source distribution of the files that git would commit."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listing = ["git", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (root / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, source / name)
    subprocess.run([sys.executable, "-c", BUILD.format(out)], cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.slow
def test_the_wheel_holds_the_package_whole_and_nothing_else(built, root):
    names = set(zipfile.ZipFile(built[0]).namelist())
    package = root / "src/autocontrastive_gen"
    listing = ["git", "ls-files", "-co", "--exclude-standard", "."]
    files = subprocess.run(listing, cwd=package, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {name.partition("/")[2] for name in names if name.startswith("autocontrastive_gen/")} == set(files)
    assert all(re.match(r"autocontrastive_(gen|suite-[^/]+\.dist-info)/", name) for name in names)


@pytest.mark.slow
def test_the_wheel_says_what_it_is(built, root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(built[0]) as wheel:
        (info,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
        metadata = message_from_string(wheel.read(f"{info}/METADATA").decode())
        scripts = ConfigParser()
        scripts.read_string(wheel.read(f"{info}/entry_points.txt").decode())
        assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) >= EXTRAS
    assert metadata.get_payload().startswith("# autocontrastive-suite")
    assert scripts["console_scripts"]["acd"] == project["scripts"]["acd"]


@pytest.mark.slow
def test_the_wheel_alone_has_the_commands_of_the_library_and_refuses_those_of_a_clone(built, root, tmp_path):
    """Beside the packages of this environment, outside a clone."""
    zipfile.ZipFile(built[0]).extractall(tmp_path / "installed")
    work = tmp_path / "work"
    work.mkdir()

    def acd(*arguments):
        command = [sys.executable, "-m", "autocontrastive_gen.cli.application", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)

    model = root / "tests/fixtures/smoke/model"
    done = acd("generate", "--model", str(model), "--prompt", "Once upon a time", "--contrast", "acd")
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    page = work / "lens.html"
    done = acd("lens", "--model", str(model), "--text", "Once upon a time", "--output", str(page))
    assert done.returncode == 0 and page.exists(), done.stderr
    done = acd("reproduce")
    assert done.returncode == 2 and "in the root of a clone of the project" in done.stderr


@pytest.mark.slow
def test_the_source_distribution_gives_the_same_wheel_and_the_tests(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "tests/fixtures/smoke/model/config.json").exists() and (source / "tests/modeling").is_dir()
    subprocess.run([sys.executable, "-c", BUILD.format(tmp_path)], cwd=source, check=True, capture_output=True)
    (again,) = tmp_path.glob("*.whl")
    first, second = (
        {each.filename: each.CRC for each in zipfile.ZipFile(path).infolist() if not each.filename.endswith("RECORD")}
        for path in (wheel, again)
    )
    assert first == second


def test_the_tests_of_the_wheel_need_no_folder_of_a_clone_and_no_package_of_the_pipeline(root):
    """What ``.ci/library`` collects is imported beside the wheel, a few tools and the source distribution's files."""
    command = (root / ".ci/library").read_text()
    left_out = re.findall(r"--ignore(?:-glob)? \"?([^\s\"]+)", command)
    absent = {"benchmarks", "datasets", "lm_eval", "mlflow", "pandas", "pydantic", "scipy"}
    collected = [
        path
        for room in re.findall(r"tests/\w+(?= |$)", command, re.MULTILINE)
        for path in (root / room).rglob("*.py")
        if not any(fnmatch(path.relative_to(root).as_posix(), pattern) for pattern in left_out)
    ]
    assert len(collected) > 40
    for path in collected:
        for node in ast.parse(path.read_text()).body:
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not absent & {name.partition(".")[0] for name in names}, path


def test_every_requirement_is_pinned_and_hashed_in_the_lock(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras.keys() >= EXTRAS
    text = (root / "requirements.lock").read_text()
    pins = {re.sub("[-_.]+", "-", name).lower(): pin for name, pin in re.findall(r"^([\w.-]+)==([^\s\\]+)", text, re.M)}
    assert len(re.findall(r"==[^\s\\]+ (; [^\\]*)?\\\n    --hash=sha256:[0-9a-f]{64}", text)) == len(pins) > 200, (
        "each has hashes"
    )
    used = [*project["dependencies"], *(each for name, extra in extras.items() if name != "docs" for each in extra)]
    for requirement in map(Requirement, used):
        pin = pins[re.sub("[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(pin, prereleases=True), requirement


def test_hooks_and_workflow_run_what_make_and_ci_run(root):
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"], "the versions are those of requirements.lock"
    linters = {" ".join(hook["entry"].split()[:2]).removeprefix(".venv/bin/") for hook in hooks[0]["hooks"]}
    lint = re.search(r"^lint:.*\n\t(.*)", (root / "Makefile").read_text(), re.M)[1]
    assert linters == {" ".join(command.split()[:2]).removesuffix(" .") for command in lint.split(" && ")}
    jobs = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", ".ci/library"]
    assert all(os.access(root / command, os.X_OK) for command in commands)
