"""What large studies cost: 200 settings, 10,000 prompts, 5,000 tracked runs, corpora of 200 and 400 MB.

    python benchmarks/load.py                       # all parts
    python benchmarks/load.py report --prompts 1000

Each part makes its inputs in a temporary folder, runs one command on them in a process of its own, and prints the CPU
seconds and the peak memory of that process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from autocontrastive_gen.experiment.lock import Entry
from autocontrastive_gen.experiment.params import load_params, load_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import write_csv, write_json, write_jsonl, write_text
from autocontrastive_gen.review.records import Cell, Point
from autocontrastive_gen.review.tracking import publish

ROOT = Path(__file__).resolve().parents[1]
PATHS, MODEL, DOMAINS = Paths("smoke"), "tiny", ("made-a", "made-b")
COUNTS = [f"{kind}_{order}" for order in (2, 3, 4) for kind in ("unique", "total")]
PLAN = """
import time
from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.plan import write_plan
start = time.process_time()
write_plan(load_params())
print(f"plan: {time.process_time() - start:.1f} s of CPU after the imports")
"""


PEAK = """
import atexit, re, runpy, sys
peak = lambda: re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
atexit.register(lambda: print(f"\\npeak {peak()}", flush=True))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module and says its peak memory in KiB: what the system tells the parent includes the parent's own."""


def measured(name: str, *command: str) -> None:
    """Run a module's command in the current folder and print what it took; what it says is shown if it fails."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{Path.cwd()}", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, "-c", PEAK, *command], env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read()
    if process.returncode:
        sys.exit(output)
    seconds, peak = usage.ru_utime + usage.ru_stime, int(output.split()[-1])
    print(f"{name}: {seconds:.1f} s of CPU, {peak / 2**20:.2f} GiB at most", flush=True)


def project(settings: int) -> None:
    """Make the current folder a project with the parameters of smoke and that many settings."""
    for name in ("conf", "stages", "src", "tests"):
        Path(name).symlink_to(ROOT / name) if name != "conf" else shutil.copytree(ROOT / name, name)
    shutil.copy(ROOT / "dvc.yaml", ".")
    content = load_profile("smoke").model_dump(mode="json", exclude_unset=True)
    decoders = [f"top-k-{count}" for count in range(settings // 2)]
    content["decoders"] |= {name: {"method": "top-k", "top_k": k} for k, name in enumerate(decoders, start=1)}
    content["run"]["settings"] = [setting for name in decoders for setting in (name, f"{name}-acd")]
    write_text("params.yaml", yaml.safe_dump(content))


def plan(options: argparse.Namespace) -> None:
    """Validate and plan many settings."""
    project(options.settings)
    subprocess.run([sys.executable, "-c", PLAN], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


FINISH = """
from pathlib import Path
from dvc.repo import Repo
with (repo := Repo()).lock:
    stages = list(repo.index.stages)
    ends = [Path(end.fspath) for stage in stages for end in (*stage.deps, *stage.outs)]
    for path in sorted(ends, reverse=True):  # what lies in an output comes before it
        path.parent.mkdir(parents=True, exist_ok=True)
        path.exists() or path.write_text(path.name)
    for stage in stages:
        stage.save()
        stage.commit()
    stages[0].dvcfile._lockfile.dump_stages(stages)
"""
"""Ends a run with made outputs. Its lock is written once: DVC's own commands write it once for each stage."""


def status(options: argparse.Namespace) -> None:
    """`dvc status` of a run with many settings, before it begins and when it has ended."""
    project(options.settings)
    for command in (("git", "init", "--quiet"), (sys.executable, "-m", "dvc", "init", "--quiet")):
        subprocess.run(command, check=True)
    subprocess.run([sys.executable, "-m", "stages.profile", "check"], check=True)
    measured(f"dvc status, {options.settings} settings, none run", "dvc", "status")
    subprocess.run([sys.executable, "-c", FINISH], check=True)
    measured(f"dvc status, {options.settings} settings, all run", "dvc", "status")
    print(f"dvc.lock: {len(Path('dvc.lock').read_text().splitlines())} lines")


def report(options: argparse.Namespace) -> None:
    """Render the report of many prompts and 40 settings."""
    project(40)
    write_plan(load_params())
    made_results(options.prompts // len(DOMAINS))
    measured(f"report, {options.prompts} prompts and 40 settings", "stages.report")
    page = PATHS.reports / "index.html"
    print(f"page: {page.stat().st_size / 1e6:.1f} MB")


def made_results(count: int) -> None:
    """Write texts and scores of ``count`` prompts per domain, in the formats of the stages."""
    draw = np.random.default_rng(0)
    settings = read_plan("smoke", "report")["settings"]
    shutil.copytree(ROOT / "tests/fixtures/smoke/model", PATHS.asset("tiny"))
    record = {"kind": "path", "source": "made", "revision": None, "sha256": "0" * 64, "licence": "MIT", "note": ""}
    write_json(PATHS.assets, {name: {**record, "files": {}} for name in (*DOMAINS, "tiny")})
    rows, names = [], {domain: [f"{domain}-{i}" for i in range(count)] for domain in DOMAINS}
    for domain, ids in names.items():
        write_jsonl(PATHS.prompts(domain), [{"id": i, "document": i, "prompt": "It was", "human": "so"} for i in ids])
    for number, setting in enumerate([*settings, "human"]):
        for domain, ids in names.items():
            columns = {name: draw.integers(40, 60, count) + number % 2 for name in COUNTS}
            columns |= {"coherence": draw.normal(0.5, 0.1, count), "perplexity": draw.uniform(10, 30, count)}
            lines = zip(*columns.values(), strict=True)
            rows += [
                {"setting": setting, "domain": domain, "id": i, "document": i, **dict(zip(columns, line, strict=True))}
                for i, line in zip(ids, lines, strict=True)
            ]
            text = {"prompt": "It was", "continuation": " a long text" * 30, "tokens": [5] * 90, "changed": None}
            if setting != "human":
                write_jsonl(PATHS.texts(MODEL, setting, domain), [{"id": i, **text} for i in ids])
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": count}
    values = dict.fromkeys(("diversity", "coherence", "perplexity"), estimate)
    write_json(PATHS.metrics(MODEL), {name: dict.fromkeys(DOMAINS, values) for name in (*settings, "human")})
    write_csv(PATHS.per_prompt(MODEL), list(rows[0]), rows)
    for setting in settings:
        write_json(PATHS.cost("generate", f"{MODEL}-{setting}"), {"wall_s": 1, "cpu_s": 1, "peak_rss_bytes": 2**30})


def track(options: argparse.Namespace) -> None:
    """Publish pipelines of 200 cells one after the other, until the store has many runs; then open its first page."""
    from mlflow import MlflowClient

    project(2)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    params = {f"p{number}": str(number) for number in range(20)}
    content = {"track": {"experiment": "load"}, "report": {"models": []}, "prepare": {}, "train": {}}
    MlflowClient().search_experiments()  # makes the tables
    taken = []
    for pipeline in range(options.runs // 200):
        names = [f"generate@{MODEL}-{pipeline}-{number}" for number in range(200)]
        lock = {name: Entry(name, name, {}, {}, {}) for name in names}
        points = tuple(Point(f"metric-{number}", float(number)) for number in range(20))
        cells = [Cell(lock[name], MODEL, name, "1", params, points) for name in names]
        start = time.process_time()
        publish("smoke", content, lock, cells)
        taken.append(time.process_time() - start)
    print(f"track, 200 cells: {taken[0]:.1f} s of CPU in an empty store, {taken[-1]:.1f} s beside {options.runs} runs")
    client, start = MlflowClient(), time.process_time()
    client.search_runs([client.get_experiment_by_name("load").experiment_id], max_results=100)
    print(f"track, first page of {options.runs} runs: {time.process_time() - start:.1f} s of CPU")


def prepare(options: argparse.Namespace) -> None:
    """Prepare two corpora, one twice the size of the other: the memory should be the same."""
    project(2)
    document = (ROOT / "tests/fixtures/smoke/text/made-a.txt").read_text()
    content = yaml.safe_load(Path("params.yaml").read_text())
    for size in options.megabytes, 2 * options.megabytes:
        with open("corpus.txt", "w") as file:
            for number in range(size * 10**6 // len(document)):
                file.write(document.replace("The ", f"The {number} "))
                file.write("\n\n")
        content["assets"]["made-a"]["path"] = str(Path("corpus.txt").resolve())
        write_text("params.yaml", yaml.safe_dump(content))
        subprocess.run([sys.executable, "-m", "stages.fetch"], check=True)
        measured(f"prepare, {size} MB", "stages.prepare")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    part.__name__: part for part in (plan, report, status, track, prepare)
}


def main() -> None:
    """Measure the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--settings", type=int, default=200, help="of plan and status")
    parser.add_argument("--prompts", type=int, default=10_000, help="of report")
    parser.add_argument("--runs", type=int, default=5000, help="of track")
    parser.add_argument("--megabytes", type=int, default=200, help="of the smaller corpus of prepare")
    options = parser.parse_args()
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            PARTS[part](options)


if __name__ == "__main__":
    run(main, "load")
