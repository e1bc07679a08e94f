"""The command ``acd`` as a user calls it: help, completion, where it works, and what it says where it does not."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import autocontrastive_gen
from autocontrastive_gen.cli import application
from autocontrastive_gen.experiment.estimate import Cost
from autocontrastive_gen.experiment.params import load_params
from stages import reproduce

COMMANDS = [*application.LIBRARY, *application.PIPELINE]


def acd(*arguments, cwd, code=0, **environment):
    command = [sys.executable, "-m", "autocontrastive_gen.cli.application", *arguments]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def clone(project, root):
    """The root of a clone with the profile smoke."""
    shutil.copytree(root / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "dvc.yaml", project)
    (project / "src").symlink_to(root / "src")
    return project


def test_the_console_script_is_this_command(root):
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    assert EntryPoint("acd", scripts["acd"], "console_scripts").load() is application.main


def test_help_lists_every_command_without_importing_any(tmp_path):
    code = "import sys\nfrom autocontrastive_gen.cli.application import main\n"
    code += "try: main()\nfinally: print('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=tmp_path, capture_output=True, text=True)
    shown, _, modules = done.stdout.partition("modules:")
    assert all(f"\n  {name} " in shown for name in COMMANDS), done.stderr
    assert "typer" in modules.split()
    assert not {"torch", "transformers", "pandas", "stages"} & set(modules.split())


def test_the_version_is_told():
    told = CliRunner().invoke(application.build(), ["--version"])
    assert told.exit_code == 0 and told.output == f"{autocontrastive_gen.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name, root, monkeypatch):
    monkeypatch.chdir(root)
    done = CliRunner().invoke(application.build(), [name, "--help"], prog_name="acd")
    assert done.exit_code == 0, done.output
    assert f"Usage: acd {name} " in done.output and f"    acd {name}" in done.output.partition("Examples:")[2]


def test_a_command_of_the_pipeline_needs_a_clone_and_says_so(tmp_path, clone):
    told = acd("check", cwd=tmp_path / "conf", code=2)
    assert f"its root is {clone}; change to that folder" in told and "Traceback" not in told
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.mkdir()
    assert "acd check works in the root of a clone of the project" in acd("check", cwd=elsewhere, code=2)
    assert acd("generate", "--help", cwd=elsewhere) and acd("eval", "--help", cwd=elsewhere)


def test_in_a_clone_the_code_of_the_clone_runs(clone, tmp_path, root):
    copy = tmp_path / "copy"
    shutil.copytree(root / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    profile = clone / "stages/profile.py"
    profile.write_text(
        profile.read_text().replace('print(f"profiles:', 'print(cwd_of_package())\n    print(f"profiles:')
    )
    profile.write_text(
        "def cwd_of_package():\n    import autocontrastive_gen\n    return autocontrastive_gen.__path__[0]\n"
        + profile.read_text().replace("from __future__ import annotations\n", "")
    )
    shown = acd("profile", "show", cwd=clone, PYTHONPATH=str(copy))
    assert str(clone / "src") in shown and str(copy) not in shown


def test_the_same_as_the_module(clone):
    assert acd("profile", "show", cwd=clone).startswith("smoke\n")
    acd("profile", "use", "laptop", cwd=clone)
    assert "profile: laptop" in (clone / "params.yaml").read_text()
    told = acd("check", "--unknown", cwd=clone, code=2)
    assert "No such option" in told and "Traceback" not in told
    (clone / "params.yaml").write_text((clone / "params.yaml").read_text().replace("seed:", "sede:"))
    assert "did you mean seed?" in acd("check", cwd=clone, code=2)


def test_unknown_commands_are_refused_with_the_nearest(tmp_path):
    assert "Did you mean 'compare'?" in acd("comprae", cwd=tmp_path, code=2)


def test_completion_knows_commands_options_and_names(clone):
    def completed(words):
        asked = {"_ACD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        return acd(cwd=clone, **asked).split()

    assert completed("acd com") == ["compare"]
    assert "--html" in completed("acd compare --")
    assert "laptop" in completed("acd profile use l") and "smoke" not in completed("acd profile use l")
    assert completed("acd generate --decoder top") == ["top-k", "top-p"]


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path):
    (tmp_path / "lm_eval.py").write_text("raise ModuleNotFoundError('no', name='lm_eval')")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    told = acd("eval", "ls", "tasks", cwd=tmp_path, code=2, **environment)
    assert "needs the package lm_eval" in told and "pip install 'autocontrastive-suite[pipeline]'" in told


def test_reproduce_hands_on_the_exit_code_of_dvc_and_uses_this_interpreter(clone):
    (clone / "dvc.py").write_text(
        "import os, shutil, sys\n"
        "assert sys.argv[1:] == ['repro'] and os.path.samefile(shutil.which('python'), sys.executable)\n"
        "sys.exit(7 if os.environ.get('FAIL') else 0)"
    )
    environment = {"PYTHONPATH": f"{clone}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "PATH": "/usr/bin:/bin"}
    told = acd("reproduce", "--jobs", "1", "--profile", "laptop", cwd=clone, code=7, FAIL="1", **environment)
    assert "profile: laptop" in (clone / "params.yaml").read_text() and "Traceback" not in told
    done = acd("reproduce", "--jobs", "1", cwd=clone, code=2, **environment)
    assert "has no page yet" in done, "the results are summed up, if there are any"


def test_reproduce_leaves_out_what_stands_between_results(clone, monkeypatch, capfd):
    said = [
        "Running stage 'fetch':",
        "> python -m stages.fetch",
        "Stage 'prepare' didn't change, skipping",
        "Updating lock file 'dvc.lock'",
        "",
        "Use `dvc push` to",
    ]
    (clone / "dvc.py").write_text(f"print(*{said}, sep='\\n')")
    monkeypatch.setenv("PYTHONPATH", f"{clone}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert reproduce.dvc("repro") == 0 and capfd.readouterr().out == "Running stage 'fetch':\n"
    monkeypatch.setenv("AUTOCONTRASTIVE_VERBOSE", "1")
    assert reproduce.dvc("repro") == 0 and capfd.readouterr().out.splitlines() == said


SEVERAL = """
import os, sys, time
assert sys.argv[1:3] == ["repro", "--single-item"]
cell, began = sys.argv[3], len(os.listdir("begun"))
with open(f"begun/{began}-{cell}-{os.environ['OMP_NUM_THREADS']}", "w"):
    time.sleep(0 if cell.endswith("wrong") else 1)
if cell == "generate@m-locked" and began < 3:
    sys.exit("ERROR: Unable to acquire lock. Most likely another DVC process is running")
print(f"Running stage '{cell}':")
sys.exit(5 if cell == "generate@m-wrong" else 0)
"""


@pytest.mark.parametrize(
    ("settings", "code", "ran"),
    [("a b c", 0, "abc"), ("locked a b", 0, "ab locked"), ("wrong a b c d", 5, "a wrong")],
)
def test_cells_side_by_side(tmp_path, monkeypatch, capfd, settings, code, ran):
    (tmp_path / "dvc.py").write_text(SEVERAL)
    (tmp_path / "begun").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(reproduce, "cores", lambda: 6)
    assert reproduce.beside([("generate", "m", setting) for setting in settings.split()], 2) == code
    shown = capfd.readouterr().out
    finished = sorted(line.split("m-")[1].rstrip("':") for line in shown.splitlines() if line.startswith("Running"))
    assert "".join(finished) == ran.replace(" ", "") and "acquire" not in shown
    assert all(file.name.endswith("-3") for file in (tmp_path / "begun").iterdir())


def test_a_benchmark_of_each_model_runs_before_other_cells(monkeypatch):
    cells = [("generate", "m", "greedy"), ("score", "m"), *(("benchmark", each, "acd") for each in "mn")]
    cells += [("benchmark", "m", "original"), ("report",)]
    monkeypatch.setattr(reproduce, "current_profile", lambda: "smoke")
    monkeypatch.setattr(reproduce, "read_plan", lambda profile: {})
    monkeypatch.setattr(reproduce, "outdated", lambda plan, paths, lock: cells)
    assert reproduce.independent_cells() == [cells[i] for i in (2, 3, 0, 4)]


@pytest.mark.parametrize(("free", "launcher", "jobs"), [(64, "", 8), (3, "", 1), (64, "torchrun", 1)])
def test_as_many_cells_side_by_side_as_cores_and_memory_allow(clone, monkeypatch, free, launcher, jobs):
    params = load_params(clone / "params.yaml").model_copy(update={"launcher": launcher})
    monkeypatch.chdir(clone)
    monkeypatch.setattr(reproduce, "load_params", lambda: params)
    monkeypatch.setattr(reproduce, "cores", lambda: 8)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=free * 2**30))
    monkeypatch.setattr(
        "autocontrastive_gen.experiment.estimate.estimate", lambda params: [Cost("generate", "m", memory=2**30)]
    )
    assert reproduce.allowed() == jobs


def test_eval_hands_its_arguments_to_lm_eval(tmp_path):
    assert "--model_args" in acd("eval", "run", "--help", cwd=tmp_path)
    assert "multi_exit_hf" in acd("eval", cwd=tmp_path)


def test_this_folder_is_a_clone(root):
    from autocontrastive_gen.cli.clone import is_clone

    assert is_clone(root) and not is_clone(Path(root, "src"))
