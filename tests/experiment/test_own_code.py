import os
import sys

import pytest

from autocontrastive_gen.experiment import own_code


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project with a module that imports another of the user's own, in a function, and a package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "mine.py").write_text("import json\nimport torch\n\ndef f(u, l):\n    from parts.sums import add\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "sums.py").write_text("from . import more\n")
    (tmp_path / "parts" / "more.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("")
    return tmp_path


def test_only_the_users_own_modules_are_followed(place):
    assert list(own_code.sources("mine:f")) == ["mine", "parts", "parts.more", "parts.sums"]


def test_the_digest_follows_every_source_and_nothing_else(place):
    before = own_code.digest("mine:f")
    (place / "other.py").write_text("y = 1")
    assert own_code.digest("mine:f") == before
    (place / "parts" / "more.py").write_text("x = 2\n")
    assert own_code.digest("mine:f") != before


def test_links_follow_the_run(place):
    own_code.link(["mine:f"])
    folder = place / own_code.FOLDER
    assert sorted(os.listdir(folder)) == ["mine.py", "parts.more.py", "parts.py", "parts.sums.py"]
    assert (folder / "mine.py").read_text() == (place / "mine.py").read_text()
    assert not os.readlink(folder / "mine.py").startswith("/")
    (folder / "README.md").write_text("kept")
    own_code.link(["other:g"])
    assert sorted(os.listdir(folder)) == ["README.md", "other.py"]
    own_code.link([])
    assert os.listdir(folder) == ["README.md"]


@pytest.mark.parametrize(("function", "message"), [("absent:f", "no module 'absent'"), ("parts.absent:f", "no module")])
def test_a_module_that_does_not_exist(place, function, message):
    with pytest.raises(ValueError, match=message):
        own_code.digest(function)


def test_a_module_that_is_not_python(place):
    (place / "mine.py").write_text("def f(:")
    with pytest.raises(ValueError, match="is not valid Python"):
        own_code.digest("mine:f")
