"""The model card of trained exits."""

from autocontrastive_gen.pipeline.model_card import model_card

MODEL = {"exits": [15, 20, 25], "mode": "SHARED_PROJECTION_DIRECT", "note": "A note."}


def test_the_card_says_how_the_exits_were_made_and_how_good_they_are():
    quality = {"news": {"15": {"perplexity": 123.4, "agreement": 0.5, "entropy": 2.0, "tokens": 100}}}
    plan = {"model": MODEL, "method": "least-squares", "start": "cast", "sampled_softmax": None, "tokens": 9}
    card = model_card("smollm2", plan, 30, quality)
    assert "| news | 15 | 123.4 | 0.500 | 2.000 | 100 |" in card and "| method | least-squares |" in card
    assert "were measured and not trained" in model_card("smollm2", {**plan, "method": "none"}, 30, quality)
    assert "\nlicense: other\n" in card and "its licence (not stated)" in card
    card = model_card("smollm2", plan, 30, quality, "Apache-2.0", 8)
    assert '("original", 25)' in card, "the exit nearest to five sixths of 30 layers"
    assert "| tokens | 8 (at most 9) |" in card
    assert "\nlicense: apache-2.0\n" in card and "its licence (Apache-2.0)" in card
