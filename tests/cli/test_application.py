"""The command ``acd`` as a user calls it: help, completion, where it works, and what it says where it does not."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

import autocontrastive_gen
from autocontrastive_gen.cli import application
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
    told = acd("reproduce", "--profile", "laptop", cwd=clone, code=7, FAIL="1", **environment)
    assert "profile: laptop" in (clone / "params.yaml").read_text() and "Traceback" not in told
    done = acd("reproduce", cwd=clone, code=2, **environment)
    assert "has no page yet" in done, "the results are summed up, if there are any"


def test_reproduce_leaves_out_what_stands_between_results(clone, monkeypatch, capfd):
    said = [
        "Running stage 'fetch':",
        "> python -m stages.fetch",
        "Updating lock file 'dvc.lock'",
        "",
        "Use `dvc push` to",
    ]
    (clone / "dvc.py").write_text(f"print(*{said}, sep='\\n')")
    monkeypatch.setenv("PYTHONPATH", f"{clone}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert reproduce.repro() == 0 and capfd.readouterr().out == "Running stage 'fetch':\n"
    monkeypatch.setenv("AUTOCONTRASTIVE_VERBOSE", "1")
    assert reproduce.repro() == 0 and capfd.readouterr().out.splitlines() == said


def test_eval_hands_its_arguments_to_lm_eval(tmp_path):
    assert "--model_args" in acd("eval", "run", "--help", cwd=tmp_path)
    assert "multi_exit_hf" in acd("eval", cwd=tmp_path)


def test_this_folder_is_a_clone(root):
    from autocontrastive_gen.cli.clone import is_clone

    assert is_clone(root) and not is_clone(Path(root, "src"))
