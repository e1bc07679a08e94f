import os
import subprocess
import sys


def test_stages_run_the_code_of_their_checkout_although_a_copy_is_installed(root, tmp_path):
    (tmp_path / "autocontrastive_gen").mkdir()
    (tmp_path / "autocontrastive_gen/__init__.py").write_text("raise SystemExit('the installed copy ran')\n")
    command = [sys.executable, "-m", "stages.profile", "show"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
