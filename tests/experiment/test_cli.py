import subprocess
import sys

import pytest

CODE = """
from autocontrastive_gen.experiment import cli
def main():
    {body}
cli.run(main, "trial")
"""


def run(body, cwd):
    return subprocess.run([sys.executable, "-c", CODE.format(body=body)], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("error", ["ValueError('alpha: 2 is too large')", "FileNotFoundError('alpha: 2 is too large')"])
def test_bad_input_ends_with_2_and_no_traceback(tmp_path, error):
    done = run(f"raise {error}", tmp_path)
    assert done.returncode == 2
    assert "trial: alpha: 2 is too large" in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in (tmp_path / ".scratch/logs/trial.log").read_text()


def test_a_bug_keeps_its_traceback(tmp_path):
    done = run("raise KeyError('x')", tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_interrupts_clean_up(tmp_path):
    body = "\n    ".join(
        ["import os, signal", "try:", "    os.kill(os.getpid(), signal.SIGTERM)", "    signal.pause()"]
        + ["finally:", "    open('cleaned', 'w')"]
    )
    assert run(body, tmp_path).returncode == 143 and (tmp_path / "cleaned").exists()
    done = run("raise KeyboardInterrupt", tmp_path)
    assert done.returncode == 130 and "Traceback" not in done.stderr
