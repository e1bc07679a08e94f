"""The examples in the library's docstrings, run as doctests; "gpt2" becomes a tiny GPT-2 of this repository."""

import doctest
import importlib
import os
from pathlib import Path

import pytest

import autocontrastive_gen

ROOMS = ("foundation", "modeling", "training", "inspection")
BASE = Path(autocontrastive_gen.__path__[0])


def library_modules() -> list[str]:
    paths = [path.relative_to(BASE) for room in ROOMS for path in sorted((BASE / room).rglob("*.py"))]
    found = [".".join(path.with_suffix("").parts) for path in paths if path.stem != "__init__"]
    return ["", "contrast_calculation", *found]


def examples_of(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(f"autocontrastive_gen.{name}".rstrip("."))
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]


@pytest.mark.parametrize("name", library_modules(), ids=lambda name: name or "package")
def test_examples_do_what_they_show(name, smoke_model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of them write files
    text = (smoke_model_folder.parent / "text/made-a.txt").read_text()
    given = {"texts": [part.replace("\n", " ") for part in text.split("\n\n") if part.strip()]}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for test in examples_of(name):
        for example in test.examples:
            example.source = example.source.replace('"gpt2"', repr(os.fspath(smoke_model_folder)))
        test.globs.update(given)
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_every_public_name_has_an_example():
    without = []
    for name in autocontrastive_gen.__all__:
        value = getattr(autocontrastive_gen, name)
        if not isinstance(value, str) and ">>> " not in (value.__doc__ or ""):
            without.append(name)
    assert not without
