"""Notes taken on the way are those of a second pass over the texts."""

import pytest

from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.generation.notes import Notes

SETTINGS = {
    "original": {},
    "acd": {"contrast_layer_indices": ("original", 2)},
    "dola": {"contrast_layer_indices": ("original", 2), "contrast_function": {"name": "dola", "layers": [4, 2]}},
}
PENALTY = {"repetition_penalty": 1.3}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("name", "parameters"), [("greedy", {}), ("greedy", PENALTY), ("top-p", {"top_p": 0.9})])
def test_notes_are_those_of_another_pass(model, tokenizer, prompts, name, parameters, setting):
    model.set_exits(**SETTINGS[setting])
    decoder = DECODERS.build(name, parameters)
    arguments = (model, tokenizer, prompts, decoder, 8, 0, 3)
    without, noted = (generate_texts(*arguments, notes=notes) for notes in (False, True))
    assert annotate(model, tokenizer, noted, 3) == noted
    for row, expected in zip(noted, annotate(model, tokenizer, without, 3), strict=True):
        assert row.pop("nll") == pytest.approx(expected.pop("nll"), rel=1e-5)
        for ours, theirs in zip(row["changed"] or (), expected["changed"] or (), strict=True):
            for key in ("upper_p", "lower_p", "token_p"):
                assert ours[key] == pytest.approx(theirs.pop(key), abs=2e-4)
                ours[key] = None
                theirs[key] = None
        assert row == expected
    assert any(row["changed"] for row in noted) == (setting != "original")
    assert not model._forward_hooks and model.observer is None


def test_where_no_notes_can_be_taken(model, tokenizer, prompts):
    greedy, beam = DECODERS.build("greedy", {}), DECODERS.build("beam", {"num_beams": 2})
    assert Notes.suit(model, greedy) and not Notes.suit(model, DECODERS.build("contrastive-search", {}))
    assert not Notes.suit(model, beam)
    with model.set_exits(output_layer_index=2):
        assert not Notes.suit(model, greedy)
    assert "nll" not in generate_texts(model, tokenizer, prompts, beam, 4, 0, 3, notes=True)[0]
