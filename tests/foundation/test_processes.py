"""Two processes under the real launchers write what one does, stage by stage."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autocontrastive_gen.experiment.params import load_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.rendering import render
from autocontrastive_gen.foundation.environment import LAUNCHED, check_processes
from autocontrastive_gen.foundation.files import read_json
from autocontrastive_gen.foundation.processes import Processes

PATHS = Paths("smoke")
ACCELERATE = "accelerate launch --config_file {root}/conf/accelerate/{name}.yaml"
TORCHRUN = "torchrun --standalone --nproc_per_node 2"


def test_items_are_dealt_out_and_idle_processes_known():
    for world in (1, 2, 3):
        for items in range(8):
            parts = [Processes(rank, world).deal(range(items)) for rank in range(world)]
            assert sorted(sum(map(list, parts), [])) == list(range(items))
            most = max(map(len, parts))
            assert [Processes(rank, world).idle(items) for rank in range(world)] == [len(p) < most for p in parts]


def test_a_launcher_that_starts_one_process_instead_of_several_is_refused(monkeypatch):
    """What accelerate's launcher leaves in the environment for ``--cpu --num_processes 2``."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv(LAUNCHED, "accelerate launch --cpu --num_processes 2")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(ValueError, match=r"started one; .*--multi_gpu --num_processes"):
        check_processes(1)
    check_processes(2)
    monkeypatch.delenv("MASTER_PORT")
    check_processes(1)


def test_only_the_second_version_of_fsdp_is_accepted(monkeypatch):
    from autocontrastive_gen.foundation import processes

    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(ValueError, match="fsdp_version: 1 .* allowed: 2"):
        processes._wants_shards()


class Run:
    """A smoke run's folder in which single stages are run under a launcher."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root

    def stage(self, name: str, *arguments: str, launcher: str = "", code: int = 0) -> str:
        text = render(load_profile("smoke"))
        for old, new in {
            'launcher: ""': "launcher: " + (launcher or '""'),
            "  microbatch_size: null\n": "  microbatch_size: 2\n",
            "tokens: 2000, text: given": "tokens: 12000, text: given",  # passes of the trunk: odd
            "  # Requests per batch.\n  batch_size: 4\n": "  batch_size: 1\n",  # the last digits depend on the batch
        }.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.folder / "params.yaml").write_text(text)
        environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", LAUNCHED)}
        environment |= {"PYTHONPATH": f"{self.root / 'src'}:{self.root}", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{name}", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        return done.stderr


def curve(folder: Path) -> list[list[float]]:
    with open(folder / "tiny/curves.csv") as file:
        return [[float(value or 0) for value in row.values()] for row in csv.DictReader(file)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory) -> tuple[Run, list[list[float]], dict]:
    """A run whose training one process has done; its curve and its exits' quality."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(root / "conf", folder / "conf")
    (folder / "tests").mkdir()
    (folder / "tests/fixtures").symlink_to(root / "tests/fixtures")
    run = Run(folder, root)
    run.stage("fetch")
    run.stage("prepare")
    run.stage("train", "--model", "tiny")
    run.stage("select", "--model", "tiny")
    trained = folder / PATHS.train("tiny").parent
    return run, curve(trained), read_json(folder / PATHS.exit_quality("tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "fsdp"])
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_training_takes_the_steps_of_one_process(alone, name):
    """Each process takes half of every batch, with the negatives of its microbatches."""
    run, one, quality = alone
    trained = run.folder / PATHS.train("tiny").parent
    shutil.rmtree(trained)
    run.stage("train", "--model", "tiny", launcher=ACCELERATE.format(root=run.root, name=name))
    assert read_json(run.folder / PATHS.cost("train", "tiny"))["processes"] == 2
    two = curve(trained)
    assert len(one) == len(two) > 20
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    ours = read_json(run.folder / PATHS.exit_quality("tiny"))
    assert ours.keys() == quality.keys()
    for domain, rows in quality.items():
        for layer, row in rows.items():
            assert ours[domain][layer] == pytest.approx(row, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "setting", "launcher"), [("generate", "greedy-acd", TORCHRUN), ("benchmark", "acd", ACCELERATE)]
)
def test_generation_and_benchmarks_write_the_same_bytes(alone, stage, setting, launcher):
    run = alone[0]
    written = []
    for command in ("", launcher.format(root=run.root, name="ddp")):
        run.stage(stage, "--model", "tiny", "--setting", setting, launcher=command)
        folder = run.folder / getattr(PATHS, stage)("tiny", setting)
        written.append(contents(folder))
        cost = read_json(run.folder / PATHS.cost(stage, f"tiny-{setting}"))
        assert stage == "benchmark" or cost["processes"] == len(written)
        shutil.rmtree(folder)
    assert written[0] == written[1] and len(written[0]) > 1


@pytest.mark.slow
def test_accelerate_without_its_gpu_option_is_refused(alone):
    message = alone[0].stage("train", "--model", "tiny", launcher="accelerate launch --cpu --num_processes 2", code=1)
    assert "was asked for several processes and started one" in message
