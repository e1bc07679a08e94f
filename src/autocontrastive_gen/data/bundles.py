"""Benchmark bundles: lm-eval's own tasks, and those that it lacks, with their data in one folder.

They run without the hub.

    <folder>/bundle.json               contents: source, revision, licence, digests
    <folder>/<task>.<split>.parquet    rows in the form of the hub's data set
    <folder>/<task>.yaml               lm-eval's own task, complete, reading these files

Any run of lm-eval from the project's root can use it with ``--include_path <folder>``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import shutil
from pathlib import Path

import yaml

from autocontrastive_gen.data.original_formats import rows_of
from autocontrastive_gen.evaluation.lm_eval_harness import tasks as own_tasks
from autocontrastive_gen.foundation.digests import file_sha256
from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.foundation.files import atomic_path, read_json, write_json, write_text

log = logging.getLogger(__name__)

SPLITS = ("training_split", "validation_split", "test_split")
DATA_SUFFIXES = (".jsonl", ".json", ".txt", ".csv")


class _Function(str):
    """A dotted name that YAML writes with the tag !function."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


def collect(names: list[str], folder: Path, given: Path | None = None) -> dict:
    """Bring the tasks ``names`` (or groups, or tags) into ``folder`` and return the content of its bundle.json.

    Args:
        given: a folder that is searched before the hub: a bundle, or publishers' files in their original formats, in
            one folder per task.

    Raises:
        InputError: a task is unknown, or a file does not fit it.
        FileError: data cannot be obtained; the message names all of them.
    """
    leaves, groups = _expand(names)
    known = read_json(given / "bundle.json")["tasks"] if given and (given / "bundle.json").exists() else {}
    tasks: dict[str, dict] = {}
    faults: dict[str, list[str]] = {}
    for name, config in leaves.items():
        try:
            if name in known:
                tasks[name] = _from_bundle(name, known[name], given, folder)
            elif given and (files := _original_files(name, config, given)):
                tasks[name] = _from_originals(name, config, files, folder)
            else:
                tasks[name] = _from_hub(name, config, folder)
        except OSError as error:
            faults.setdefault(str(error), []).append(name)
    if faults:
        raise FileError(_missing(faults))
    bundle = {"lm_eval": importlib.metadata.version("lm_eval"), "tasks": tasks, "groups": groups}
    write_json(folder / "bundle.json", bundle)
    return bundle


def install(bundle: Path, folder: Path) -> dict:
    """Copy the data of a bundle to ``folder``, write the ``<task>.yaml`` that read them there, and return its tasks.

    Args:
        folder: relative to the project's root; may be the bundle itself.
    """
    content = read_json(bundle / "bundle.json")
    leaves, _ = _expand([*content["tasks"], *content["groups"]])
    for name, task in content["tasks"].items():
        _from_bundle(name, task, bundle, folder)
    _write_configs(folder, leaves, content)
    return content["tasks"]


# lm-eval's definitions -----------------------------------------------------------------------------------------------


def _expand(names: list[str]) -> tuple[dict[str, dict], dict[str, dict]]:
    """({task: its whole configuration}, {group: its configuration}) for names of tasks, groups and tags."""
    leaves, groups, queue = {}, {}, list(names)
    while queue:
        name = queue.pop(0)
        index = _index(name)
        kind = index[name].kind.name
        if kind == "TAG":
            queue += sorted(index[name].tags)
        elif kind == "GROUP":
            groups[name] = index[name].cfg
            members = [member if isinstance(member, str) else member.get("task") for member in index[name].cfg["task"]]
            if None in members:
                raise InputError(f"task {name}: defines tasks inline, so it cannot be bundled; name its tasks")
            queue += members
        elif kind == "TASK" and "custom_dataset" not in index[name].cfg:
            leaves[name] = _portable(index[name].cfg)
        else:
            raise InputError(f"task {name}: generates its data in code, so it cannot be bundled; leave it out")
    return leaves, groups


_INDICES: dict[Path, dict] = {}


def _index(name: str) -> dict:
    """The index of a folder that defines the task: ours, one of lm-eval's named like its start, else all (20 s)."""
    from lm_eval.tasks import TaskManager

    root = tasks_folder()
    parts = name.split("_")
    likely = [own_tasks.FOLDER, *(root / "_".join(parts[:count]) for count in range(len(parts), 0, -1))]
    likely += [folder for folder in _INDICES if name in _INDICES[folder]]
    for folder in [folder for folder in likely if folder.is_dir()] + [root]:
        if folder not in _INDICES:
            _INDICES[folder] = TaskManager(include_path=folder, include_defaults=False).task_index
        if name in _INDICES[folder]:
            return _INDICES[folder]
    raise InputError(
        f"task {name!r}: not a task of lm-eval {importlib.metadata.version('lm_eval')}; `lm-eval ls tasks`"
    )


def tasks_folder() -> Path:
    """The folder of lm-eval's own tasks."""
    return Path(importlib.util.find_spec("lm_eval").origin).parent / "tasks"


def _portable(config: dict) -> dict:
    """The configuration with its functions named by module instead of by a path on this machine."""
    packages = {f"{tasks_folder()}/": "lm_eval.tasks.", f"{own_tasks.FOLDER}/": f"{own_tasks.__name__}."}

    def convert(value):
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        if isinstance(value, list):
            return [convert(item) for item in value]
        for root, package in packages.items():
            if isinstance(value, str) and value.startswith(root):
                return _Function(package + value.removeprefix(root).replace("/", "."))
        return value

    return convert({key: value for key, value in config.items() if key != "tag"})


def _write_configs(folder: Path, leaves: dict[str, dict], bundle: dict) -> None:
    for name, config in leaves.items():
        files = {split: (folder / file["file"]).as_posix() for split, file in bundle["tasks"][name]["splits"].items()}
        local = {"dataset_path": "parquet", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        missing = {key: None for key in SPLITS if config.get(key) not in files}
        _write_yaml(folder / f"{name}.yaml", config | local | missing)
    for name, config in bundle["groups"].items():
        _write_yaml(folder / f"{name}.yaml", config)


def _write_yaml(path: Path, config: dict) -> None:
    write_text(path, yaml.dump(config, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True))


# Data ----------------------------------------------------------------------------------------------------------------


def _from_bundle(name: str, task: dict, bundle: Path, folder: Path) -> dict:
    for file in task["splits"].values():
        if Path(file["file"]).name != file["file"]:
            raise FileError(f"{bundle / 'bundle.json'}: refused: {file['file']!r} is not a plain file name")
        source, target = bundle / file["file"], folder / file["file"]
        if not source.exists() or (found := file_sha256(source)) != file["sha256"]:
            state = f"has sha256 {found} and not {file['sha256']}" if source.exists() else "is missing"
            raise FileError(f"{source} {state}")
        if source != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return task


def _original_files(name: str, config: dict, given: Path) -> list[Path]:
    """Files for a task: all of ``<task>/``, or where one publisher has many tasks, the file at the publisher's path."""
    part = config.get("dataset_name") or ""
    published = {
        "nyu-mll/blimp": f"blimp/{part}.jsonl",
        "hails/bigbench": f"{part.removesuffix('_zero_shot')}/task.json",
        "truthfulqa/truthful_qa": "truthful_qa/questions.json",
        "AI21Labs/factor": f"{part}_factor.csv",
    }.get(config["dataset_path"])
    if published and (given / published).exists():
        return [given / published]
    folder = given / name
    return sorted(path for path in folder.glob("*") if path.suffix in DATA_SUFFIXES) if folder.is_dir() else []


def _from_originals(name: str, config: dict, files: list[Path], folder: Path) -> dict:
    splits: dict[str, list[dict]] = {}
    for path in files:
        rows = rows_of(path, config["dataset_path"], config.get("dataset_name"))
        splits.setdefault(_split_of(path, config), []).extend(rows)
    scored = config.get("test_split") or config.get("validation_split")
    if scored not in splits:
        names = ", ".join(path.name for path in files)
        raise InputError(f"task {name}: scores its {scored} split, but the files belong to others ({names})")
    from datasets import Dataset

    data = {split: Dataset.from_list(rows) for split, rows in splits.items()}
    about = {"source": "files in their original format", "revision": "", "licence": "not stated"}
    return about | {"dataset": config["dataset_path"], "splits": _write_splits(name, data, folder)}


def _split_of(path: Path, config: dict) -> str:
    """The split that a file's name indicates; by default the one that the task scores."""
    words = path.stem.lower().replace("-", "_").split("_")
    for key, signs in zip(
        SPLITS, (("train",), ("dev", "development", "val", "valid", "validation"), ("test", "tests")), strict=True
    ):
        if config.get(key) and any(sign in words for sign in signs):
            return config[key]
    return config.get("test_split") or config["validation_split"]


def _from_hub(name: str, config: dict, folder: Path) -> dict:
    """The splits that a task uses, at the data set's current commit; offline, those in the local cache."""
    dataset, configuration = config["dataset_path"], config.get("dataset_name")
    from datasets import load_dataset

    revision, licence = _on_hub(dataset)
    wanted = {config[key] for key in SPLITS if config.get(key)}
    try:
        kwargs = {
            key: value for key, value in (config.get("dataset_kwargs") or {}).items() if key != "trust_remote_code"
        }
        whole = load_dataset(dataset, configuration, revision=revision or None, **kwargs)
    except (OSError, ValueError, RuntimeError) as error:
        raise FileError(f"the hub data set {dataset} could not be fetched ({' '.join(str(error).split())})") from None
    data = {split: rows for split, rows in whole.items() if split in wanted}
    about = {"source": "hub", "revision": revision, "licence": licence}
    return about | {"dataset": dataset, "splits": _write_splits(name, data, folder)}


@functools.cache
def _on_hub(dataset: str) -> tuple[str, str]:
    """(commit, licence) of a data set; ("", "not stated") if the hub does not answer.

    If it cannot be reached at all, the rest of this process works offline instead of trying again and again.
    """
    import datasets
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().dataset_info(dataset)
    except huggingface_hub.errors.HfHubHTTPError:
        return "", "not stated"
    except Exception as error:  # from the network or from the hub's HTTP library
        if not datasets.config.HF_HUB_OFFLINE:
            log.warning("the hub cannot be reached (%s); looking in the local cache", error)
        datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
        return "", "not stated"
    licence = (info.card_data or {}).get("license") or "not stated"
    return info.sha, licence if isinstance(licence, str) else ", ".join(licence)


def _missing(faults: dict[str, list[str]]) -> str:
    """What is missing, one line per cause, and how to provide it."""
    lines = []
    for cause, names in faults.items():
        shown = names if len(names) <= 3 else [*names[:2], f"and {len(names) - 2} more"]
        lines.append(f"tasks {', '.join(shown)}: {cause}")
    remedy = (
        "To provide tasks: on a connected machine run `python -m stages.fetch --tasks TASK ... --to bundle`, or put "
        "the publishers' files into bundle/TASK/; then make the folder `bundle` an asset of kind path and name it in "
        "prepare.bundle"
    )
    return "\n".join([*lines, remedy])


def _write_splits(name: str, data: dict, folder: Path) -> dict[str, dict]:
    splits = {}
    for split, rows in data.items():
        path = folder / f"{name}.{split}.parquet"
        with atomic_path(path) as temporary:
            rows.to_parquet(str(temporary))
        splits[split] = {"file": path.name, "sha256": file_sha256(path), "rows": len(rows)}
    return splits
