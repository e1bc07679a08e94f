"""Resume state that a power cut or a bad disk has damaged: a stage says so in one line and ends with the same bytes."""

import os
import re
import shutil
import signal
import sys

import pytest

pytestmark = pytest.mark.slow

KILLED = """
import os, re, runpy, signal, sys
replace, pattern, number = os.replace, sys.argv[1], int(sys.argv[2])
def stop(source, target, **options):
    global number
    replace(source, target, **options)
    number -= re.search(pattern, str(target)) is not None
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = stop
sys.argv = sys.argv[3:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a stage and kills it once it has put the n-th file of some name in place."""

TRAIN = ("train", "stages.train --model tiny", "checkpoint.safetensors", 2)
GENERATE = ("generate", "stages.generate --model tiny --setting greedy-acd", "texts/00001", 1)
SCORE = ("score", "stages.score --model tiny", r"/score/.*made-b/00000", 1)
BENCHMARK = ("benchmark", "stages.benchmark --model tiny --setting acd", "results.json", 1)
PASSES = ("benchmark", "stages.benchmark --model tiny --setting acd", "/trunk/tiny/.*", 1)
SELECT = ("select", "stages.select --model tiny", "selection.json", 1)

STATE = {
    "arguments of training": (TRAIN, "run.json.*"),
    "blocks of tokens": (TRAIN, "blocks.int32.*"),
    "states of the trunk": (TRAIN, "states-4.bf16"),
    "passes of the trunk": (TRAIN, "collected-0.safetensors.*"),
    "checkpoint of training": (TRAIN, "checkpoint.safetensors.*"),
    "generated texts": (GENERATE, "texts/00001.jsonl.*"),
    "likelihoods of human texts": (SCORE, "made-a/00000.jsonl.*"),
    "answers of lm-eval": (BENCHMARK, "answers_rank0.db"),
    "states of the trunk for other settings": (PASSES, "trunk/tiny/*/*.safetensors.*"),
    "scores of lower layers": (SELECT, "select/*.json.*"),
}
"""Every kind of resume state of the smoke profile: the stage, how it is interrupted, and the file."""


def flipped(content: bytes, place: float) -> bytes:
    """The content with one bit flipped, at ``place`` of its length."""
    changed = bytearray(content)
    changed[int(place * (len(content) - 1))] ^= 4
    return bytes(changed)


DAMAGE = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) * 2 // 3],
    "a bit near the start": lambda content: flipped(content, 0.02),
    "a bit near the end": lambda content: flipped(content, 0.95),
}


def outputs(clone, stage: str) -> dict[str, bytes]:
    folder = clone.folder / "runs/smoke" / stage
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kind", STATE)
def test_damaged_state_is_dropped_and_made_again(clone, finished, kind):
    (stage, command, pattern, number), name = STATE[kind]
    scratch, interrupted = clone.folder / ".scratch", clone.folder / "interrupted"
    module, *cell = command.split()
    shutil.rmtree(scratch)
    clone.run(sys.executable, "-c", KILLED, pattern, str(number), module, *cell, code=-signal.SIGKILL)
    scratch.rename(interrupted)
    for damage, harm in DAMAGE.items():
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(interrupted, scratch)
        file = max(scratch.rglob(name), key=os.path.getmtime)  # the checkpoint before it may still be there
        file.write_bytes(harm(file.read_bytes()))
        for output in (clone.folder / "runs/smoke" / stage).iterdir():
            shutil.rmtree(output)
        output = clone.run("python", "-m", module, *cell)
        lines = re.findall(r".*damaged.*", output)
        named = str(file.relative_to(clone.folder)).replace("states-4", "states-*")
        assert len(lines) == 1 or (damage, name) == ("emptied", "answers_rank0.db"), f"{damage}: {output}"
        assert all(named in line and "dropped and made again" in line for line in lines), f"{damage}: {output}"
        expected = outputs(finished[0], stage)
        found = outputs(clone, stage)
        assert found == {file: expected[file] for file in found} and found, f"{damage}: {output}"
