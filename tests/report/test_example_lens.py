"""The lens of a report where it can't be made: the file says why. A run's own lens is tested with its pipeline."""

from autocontrastive_gen.foundation.files import read_yaml
from autocontrastive_gen.report.example_lens import write_example_lens
from autocontrastive_gen.report.results import Results
from tests.report.conftest import PLAN, write_run


def test_a_model_that_is_not_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Results(write_run(), PLAN)
    assert not write_example_lens(results)
    assert "the files of model made are not on this machine" in (results.paths.reports / "lens.html").read_text()


def test_no_text_without_a_licence_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_run()
    (paths.asset("made-model") / "model.safetensors").touch()
    closed = {name: entry for name, entry in read_yaml(paths.plan)["report"]["domains"].items() if name == "closed"}
    results = Results(paths, PLAN | {"domains": closed})
    assert not write_example_lens(results)
    assert "the licence of no text allows to show it" in (paths.reports / "lens.html").read_text()


def test_a_damaged_model_costs_the_report_nothing_but_its_lens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_run()
    (paths.asset("made-model") / "model.safetensors").write_bytes(b"not weights")
    assert not write_example_lens(Results(paths, PLAN))
    said = (paths.reports / "lens.html").read_text()
    assert "No lens was made: runs/golden/fetch/made-model: " in said
