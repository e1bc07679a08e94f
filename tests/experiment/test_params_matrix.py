"""Every key of the schema gets values of a wrong type, out of range and unknown names, made from the schema."""

import os
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from autocontrastive_gen.experiment.params import Params, ParamsError, check, load_profile

SCHEMA = Params.model_json_schema()
DIGEST = "0" * 64
KINDS = {
    "hub": {"kind": "hub", "repo": "nobody/nothing", "revision": "main", "licence": "MIT"},
    "pypi": {"kind": "pypi", "package": "p", "version": "1", "file": "f", "sha256": DIGEST, "licence": "MIT"},
    "url": {"kind": "url", "url": "https://example.org/f", "licence": "MIT"},
    "path": {"kind": "path", "path": "f", "licence": "MIT"},
}


@dataclass(frozen=True)
class Fault:
    path: tuple
    value: Any
    kind: str


def resolved(node: dict) -> dict:
    return SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def out_of_range(node: dict) -> Iterator[Any]:
    """Values of the right type that a leaf of the schema must refuse."""
    node = resolved(node)
    for option in node.get("anyOf", ()):
        yield from out_of_range(option)
    for bound, value in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1), ("exclusiveMaximum", 0)):
        if bound in node:
            yield node[bound] + value
    if "pattern" in node:
        yield ""
    if node.get("minItems"):
        yield []
    if "maxItems" in node:
        yield [0.5] * (node["maxItems"] + 1)


def unknown_name(node: dict) -> Iterator[str]:
    node = resolved(node)
    options = [node, *node.get("anyOf", ())]
    if any("enum" in option or "const" in option for option in options):
        yield "surely-unknown"


def faults_of(node: dict, path: tuple, content: Any) -> Iterator[Fault]:
    """Every fault of the key at ``path``, and of all keys below it."""
    node = resolved(node)
    optional = [resolved(option) for option in node.get("anyOf", ()) if option.get("type") != "null"]
    section = node if "properties" in node else next((item for item in optional if "properties" in item), None)
    if section:
        yield Fault(path, "wrong", "section")
        yield Fault((*path, "surely_unknown"), 1, "unknown key")
        for key, child in section["properties"].items():
            yield from faults_of(child, (*path, key), content.get(key) if isinstance(content, dict) else None)
    elif "patternProperties" in node:  # a catalogue: any name, each with such a value
        yield Fault(path, "wrong", "section")
        (child,) = node["patternProperties"].values()
        for name in content:
            for kind in [content[name]["kind"]] if "oneOf" in child else [None]:
                target = SCHEMA["$defs"][child["discriminator"]["mapping"][kind].rpartition("/")[2]] if kind else child
                yield from faults_of(target, (*path, name), content[name])
    else:
        yield Fault(path, {"wrong": 1}, "type")
        for value in out_of_range(node):
            yield Fault(path, value, "range")
        for value in unknown_name(node):
            yield Fault(path, value, "name")
        for item in [node, *node.get("anyOf", ())]:
            if "items" in item and "maxItems" not in item:
                yield Fault(path, [{"wrong": 1}], "type")
                for value in (*out_of_range(item["items"]), *unknown_name(item["items"])):
                    yield Fault(path, [value], "range")


def content(root) -> dict:
    """The laptop profile with an asset of every kind."""
    found = load_profile("laptop").model_dump(mode="json")
    found["assets"] |= {f"kind-{kind}": asset for kind, asset in deepcopy(KINDS).items()}
    check(found, "params.yaml")
    return found


def all_faults(root) -> list[Fault]:
    known = content(root)
    return [fault for key, node in SCHEMA["properties"].items() for fault in faults_of(node, (key,), known[key])]


def put(content: dict, path: tuple, value: Any) -> None:
    for parent in path[:-1]:
        content = content[parent]
    content[path[-1]] = value


def told(content: dict) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        check(content, "params.yaml")
    return str(caught.value).splitlines()


def named(path: tuple, lines: list[str]) -> bool:
    """Whether a line names the key and says what to do about it."""
    name = ".".join(map(str, path))
    remedies = ["is not allowed", "unknown key", "is not defined", "is missing", "is none of"]
    remedies += ["is not a setting", "is not a benchmark setting"]
    return any(line.startswith(f"params.yaml: {name}") and any(word in line for word in remedies) for line in lines)


def test_every_key_of_the_schema_has_faults(root):
    """The matrix is complete: each field of each section is in it."""
    fields = {
        field
        for name in (*SCHEMA["$defs"], None)
        for field in (SCHEMA["$defs"][name] if name else SCHEMA)["properties"]
    }
    faults = all_faults(root)
    assert fields <= {part for fault in faults for part in fault.path}
    assert len(faults) > 300 and {fault.kind for fault in faults} >= {"type", "range", "name", "unknown key"}


def test_every_fault_is_refused_with_its_key(root):
    known = content(root)
    for fault in all_faults(root):
        changed = deepcopy(known)
        put(changed, fault.path, fault.value)
        assert named(fault.path, told(changed)), fault


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["type", "range", "name", "unknown key"])
def test_the_command_reports_the_faults_of_all_keys_at_once(root, project, kind):
    changed, paths = content(root), []
    for fault in all_faults(root):
        if fault.kind == kind and fault.path not in paths and fault.path[-1] != "kind":
            put(changed, fault.path, fault.value)
            paths.append(fault.path)
    (project / "params.yaml").write_text(yaml.safe_dump(changed))
    command = [sys.executable, "-m", "stages.fetch"]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
    lines = done.stderr.replace("fetch: params.yaml", "params.yaml").splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert [path for path in paths if not named(path, lines)] == []
    assert not (project / "runs").exists()
