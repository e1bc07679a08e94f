"""The lens of a report: the one that ``score`` made of a text that may be shown, or a page that says why not."""

from autocontrastive_gen.foundation.files import read_json, write_text
from autocontrastive_gen.report.example_lens import write_example_lens
from autocontrastive_gen.report.results import Results
from tests.report.conftest import PLAN, write_run


def test_a_model_that_has_not_been_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Results(write_run(), PLAN)
    assert not write_example_lens(results)
    assert "score has made none for model made" in (results.paths.reports / "lens.html").read_text()


def test_no_text_without_a_licence_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_run()
    for domain in PLAN["domains"]:
        write_text(paths.lens("made", domain), f"what {domain} says")
    closed = {name: entry for name, entry in read_json(paths.plan)["report"]["domains"].items() if name == "closed"}
    results = Results(paths, PLAN | {"domains": closed})
    assert not write_example_lens(results)
    assert "the licence of no text allows to show it" in (paths.reports / "lens.html").read_text()


def test_the_first_text_with_a_licence_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_run()
    for domain in PLAN["domains"]:
        write_text(paths.lens("made", domain), f"what {domain} says")
    turned = {"closed": PLAN["domains"]["closed"], **PLAN["domains"]}
    assert write_example_lens(Results(paths, PLAN | {"domains": turned}))
    shown = next(domain for domain in PLAN["domains"] if domain != "closed")
    assert (paths.reports / "lens.html").read_text() == f"what {shown} says"
