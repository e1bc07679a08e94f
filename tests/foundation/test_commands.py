import re
import subprocess
import sys
from pathlib import Path

import pytest

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.foundation.files import read_json

CODE = """
from autocontrastive_gen.foundation.commands import run
def main():
    {body}
run(main, "trial")
"""


def run(body, cwd):
    return subprocess.run([sys.executable, "-c", CODE.format(body=body)], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("error", ["InputError", "FileError", "MissingFileError"])
def test_what_a_user_can_correct_ends_with_2_and_no_traceback(tmp_path, error):
    done = run(
        f"from autocontrastive_gen.foundation import errors; raise errors.{error}('alpha: 2 is too large')", tmp_path
    )
    assert done.returncode == 2
    assert "trial: alpha: 2 is too large" in done.stderr and "Traceback" not in done.stderr
    assert ".scratch/logs/trial.log" in done.stderr
    assert "Traceback" in (tmp_path / ".scratch/logs/trial.log").read_text()


@pytest.mark.parametrize("body", ["open('absent.csv')", "open('/')"])
def test_an_error_of_the_system_is_shown_in_its_own_words(tmp_path, body):
    done = run(body, tmp_path)
    assert done.returncode == 2 and "trial: [Errno" in done.stderr and "Traceback" not in done.stderr


def test_a_file_that_an_earlier_stage_writes_is_named_with_the_command_that_makes_it(tmp_path):
    done = run("open('runs/smoke/generate/absent.jsonl')", tmp_path)
    assert done.returncode == 2 and "absent.jsonl'; an earlier stage" in done.stderr and "dvc repro" in done.stderr


def test_a_full_disk_is_named_although_a_library_wraps_it(tmp_path):
    done = run(
        "try: open('/dev/full', 'w').write('x' * 10**6)\n    except OSError as e: raise RuntimeError('no') from e",
        tmp_path,
    )
    assert done.returncode == 2 and "is full: make room" in done.stderr and "Traceback" not in done.stderr


NO_MEMORY = [
    "raise MemoryError",
    "import torch; raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB.')",
    "import torch; torch.empty(2**60)",
    "raise ImportError('libtorch.so: failed to map segment from shared object')",
    "import errno; raise OSError(errno.ENOMEM, 'Cannot allocate memory')",
    "from autocontrastive_gen.foundation.errors import mendable\n"
    "    with mendable('model'): raise OSError(12, 'Cannot allocate memory')",
]


@pytest.mark.parametrize("body", NO_MEMORY)
def test_too_little_memory_names_what_to_lower(tmp_path, body):
    done = run(body, tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for key in ("batch_size", "microbatch_size", "num_beams"):
        assert key in done.stderr


@pytest.mark.parametrize("kind", ["ValueError", "errors.InputError"])
def test_passwords_are_shown_nowhere(tmp_path, kind):
    body = f"from autocontrastive_gen.foundation import errors; raise {kind}('no answer of ftp://me:secret@host')"
    done = run(body, tmp_path)
    shown = done.stderr + (tmp_path / ".scratch/logs/trial.log").read_text()
    assert "secret" not in shown and "ftp://me:***@host" in shown


def test_an_interpreter_without_docstrings_is_refused(tmp_path):
    command = [sys.executable, "-OO", "-c", CODE.format(body="pass")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "leave it out" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("body", ["{}['x']", "list(zip([1], [], strict=True))", "raise OSError('of some library')"])
def test_a_bug_keeps_its_traceback(tmp_path, body):
    done = run(body, tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert "please report it" in done.stderr and ".scratch/logs/trial.log" in done.stderr
    assert "Traceback" in (tmp_path / ".scratch/logs/trial.log").read_text()


def test_interrupts_clean_up(tmp_path):
    body = "\n    ".join(
        ["import os, signal", "try:", "    os.kill(os.getpid(), signal.SIGTERM)", "    signal.pause()"]
        + ["finally:", "    open('cleaned', 'w')"]
    )
    assert run(body, tmp_path).returncode == 143 and (tmp_path / "cleaned").exists()
    done = run("raise KeyboardInterrupt", tmp_path)
    assert done.returncode == 130 and "Traceback" not in done.stderr
    swallowed = ["try:", "    os.kill(os.getpid(), signal.SIGINT)", "except BaseException:", "    pass"]
    done = run("\n    ".join(["import os, signal", *swallowed, "raise RecursionError"]), tmp_path)
    assert done.returncode == 130 and "Traceback" not in done.stderr, "a library that goes on after Ctrl-C may fail"


CELL = """
import sys
from autocontrastive_gen.experiment.cell_command import run_cell
def work(model, setting, plan, paths, cost):
    print("chatter of a library")
    cost["texts"] = [model, setting, plan["new_tokens"], str(paths.texts(model, setting, "made-a"))]
    return "3 texts"
run_cell("generate", "Purpose.", work, setting="a setting")
"""


def test_a_cell_gets_its_names_its_plan_and_a_meter(project):
    params = load_params()
    write_plan(params)

    def command(*arguments):
        return subprocess.run([sys.executable, "-c", CELL, *arguments], capture_output=True, text=True)

    done = command("--model", "tiny", "--setting", "greedy")
    assert done.returncode == 0, done.stderr
    cost = read_json(Paths("smoke").cost("generate", "tiny-greedy"))
    assert cost["texts"] == [
        "tiny",
        "greedy",
        params.generate.new_tokens,
        "runs/smoke/generate/tiny-greedy/made-a.jsonl",
    ]
    assert cost["wall_s"] > 0
    assert re.fullmatch(r"generate tiny greedy: 3 texts, in [0-9.]+ s\n", done.stderr) and not done.stdout
    assert "chatter of a library" in Path(".scratch/logs/generate-tiny-greedy.log").read_text()
    done = command("--model", "tiny", "--setting", "gredy")
    assert done.returncode == 2 and "generate.tiny.gredy: not in" in done.stderr and "Traceback" not in done.stderr
    done = command("--model", "tiny")
    assert done.returncode == 2 and "required: --setting" in done.stderr
    done = command("--help")
    assert done.returncode == 0 and "Purpose." in done.stdout and "python -m stages.generate" in done.stdout


@pytest.mark.parametrize(("module", "frozen"), [("nanobind", ""), ("pybind11_builtins", "frozen\n")])
def test_objects_are_spared_at_the_end_unless_a_library_counts_them(tmp_path, module, frozen):
    body = f"import gc, sys, types; kind = type('kind', (type,), {{'__module__': '{module}'}}); "
    body += "sys.modules['triton._C.made'] = made = types.ModuleType('made'); made.context = kind('context', (), {}); "
    done = run(body + "gc.freeze = lambda: print('frozen')", tmp_path)
    assert done.returncode == 0 and done.stdout == frozen


ATTENTION = """
    import torch
    torch.manual_seed(0)
    query, key = torch.randn(8, 3, 3, 64), torch.randn(8, 3, 160, 64)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        mask = torch.zeros(8, 1, 3, 160)
        found.append(torch.nn.functional.scaled_dot_product_attention(query, key, key, attn_mask=mask))
    print(torch.equal(*found))
"""


def test_the_number_of_threads_changes_no_bit_of_an_attention(tmp_path):
    assert run(ATTENTION.strip(), tmp_path).stdout == "True\n"
