"""One cell of the benchmark stage: the tasks, with one model under one setting, through lm-eval."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation.benchmarks import ITEM_COLUMNS, evaluate, items, results
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, read_json, write_csv, write_json
from autocontrastive_gen.pipeline.cell_model import exit_fields, read_resolved
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.precision import speed_up, state_type


def benchmark_cell(name: str, setting: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.results`` and ``paths.items``.

    Answers of an interrupted run are taken from ``.scratch``, and so are the states of the trunk that another setting
    has left there: settings of one model differ in what they make of these.
    """
    resolved = read_resolved(paths, name, setting)
    files = sorted(file for file in paths.tasks.glob("*") if file.is_file())
    of_all = [plan, [(file.name, file_sha256(file)) for file in files], code_digest("benchmark")]
    scratch = SCRATCH / "benchmark" / fingerprint([resolved, *of_all])[:16]
    scratch.mkdir(parents=True, exist_ok=True)
    # local files, read anew by every process: what another run has left there could be damaged
    os.environ.setdefault("HF_DATASETS_CACHE", tempfile.mkdtemp(prefix="datasets-", dir=scratch))
    fields, runtime = exit_fields(resolved), plan["model"]
    exits = None if fields["use_original_head"] else paths.exits(name)
    layers, keep = _layers_read(name, paths), _states_folder(name, of_all)
    base = paths.asset(runtime["asset"])
    lm = load_lm(base, exits, runtime["dtype"], plan["batch_size"], fields, layers=layers, keep=keep)
    output = evaluate(lm, plan["tasks"], [paths.tasks], plan, cache=scratch / "answers")
    if output is None:  # only the main process has the results
        return ""
    shutil.rmtree(paths.benchmark(name, setting), ignore_errors=True)
    found = results(output)
    write_json(paths.results(name, setting), found)
    write_csv(paths.items(name, setting), list(ITEM_COLUMNS), items(output))
    shutil.rmtree(scratch, ignore_errors=True)
    cost["items"] = sum(1 for _ in items(output))
    return ", ".join(f"{task} {_first(metrics)}" for task, metrics in found.items() if metrics)


def _first(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """The accuracy of a task, or the first metric of one that has none: "acc 0.39"."""
    name = "acc" if "acc" in metrics else min(metrics)
    return f"{name} {metrics[name]['value']:.2f}"


def _layers_read(name: str, paths: Paths) -> set[int]:
    """Layers whose exits the settings of the run read."""
    settings = map(read_json, paths.select(name).glob("settings/*.json"))
    return {int(layer) for setting in settings for layer in setting["exits"]}


def _states_folder(name: str, key: list[Any]) -> Path:
    """Folder for the states of a model's trunk, of which ``key`` tells everything but the libraries.

    States of the model that other requests, code or libraries gave are removed.
    """
    import torch
    import transformers

    key = [*key, torch.__version__, transformers.__version__, torch.get_num_threads()]
    folder = SCRATCH / "trunk" / name / fingerprint(key)[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def load_lm(
    base: Path,
    exits: Path | None,
    dtype: str,
    batch_size: int,
    fields: Mapping[str, Any],
    layers: Iterable[int],
    keep: Path,
):
    """A model for lm-eval on the device of this process, configured by ``fields``; without ``exits``, the base's own.

    Args:
        dtype: ``models.<model>.dtype``.
        fields: of ``MultiExitConfiguration``.
        layers, keep: of ``SharedTrunkLM``.
    """
    from autocontrastive_gen.evaluation.lm_eval_harness.shared_trunk import SharedTrunkLM
    from autocontrastive_gen.foundation.processes import Processes

    processes = Processes.start()
    os.environ.pop("ACCELERATE_USE_FSDP", None)  # sharding is for training: here each process holds a whole model
    lm = SharedTrunkLM(
        layers=layers,
        keep=keep,
        pretrained=str(base),
        exits=None if exits is None else str(exits),
        dtype=state_type(dtype),
        device=processes.device.type,
        batch_size=batch_size,
        softmax_dtype="float32",  # as contrast's is, so that both are compared alike in a 16-bit model
        **fields,
    )
    speed_up(lm.model, dtype)
    return lm
