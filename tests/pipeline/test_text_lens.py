"""The lens of a run. The page itself is tested with the pipeline that makes it."""

import logging

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import write_json
from autocontrastive_gen.pipeline import text_lens

PLAN = {
    "lens": {"setting": "greedy", "contrasts": ["greedy-acd", "greedy-acd2"]},
    "model": {"asset": "tiny"},
    "domains": ["made"],
}


def test_a_text_that_no_lens_can_show_costs_the_scores_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    paths, seen = Paths("smoke"), {}

    def lens(model, tokenizer, text, **options):
        seen.update(options, text=text)
        raise InputError("the text is too long")

    def tokenizer(text):
        return {"input_ids": [1, 2, 3, 4, 5, 6]}

    monkeypatch.setattr(text_lens, "lens", lens)
    for setting in PLAN["lens"]["contrasts"]:
        resolved = {"upper": "original", "lower": 2, "contrast": {"method": "acd"}, "exits": {}}
        write_json(paths.resolved("tiny", setting), resolved)
    with caplog.at_level(logging.WARNING):
        texts = {("greedy", "made"): [{"prompt": "It was", "tokens": [7] * 90}]}
        text_lens.write_lenses("tiny", PLAN, paths, texts, None, tokenizer)
    assert "no lens of a text of made: the text is too long" in caplog.text
    assert not paths.lens("tiny", "made").exists()
    assert seen["text"] == [1, 2, 3, 4, 5, 6, *[7] * 60] and seen["skip"] == 2
    assert list(seen["contrasts"]) == ["acd (2)", "acd2"], "a layer that was chosen is told"
