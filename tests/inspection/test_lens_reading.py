"""The lens against whole passes of the model, layer by layer."""

import copy
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, T5Config

from autocontrastive_gen import lens
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.inspection import lens_reading
from autocontrastive_gen.inspection.layer_measures import MEASURES
from autocontrastive_gen.modeling.plausible import plausible_mask
from tests.inspection.conftest import TEXT

COLUMN = {measure.key: i for i, measure in enumerate(MEASURES)}


def slow_row(log_p: np.ndarray, last: np.ndarray, came: int | None) -> dict[str, float]:
    """The measures of one position from log-probabilities (V,), in float64."""
    p, q = np.exp(log_p), np.exp(last)
    mean = (p + q) / 2
    return {
        "probability": p.max(),
        "entropy": -(p * log_p).sum(),
        "cross_entropy": math.nan if came is None else -log_p[came],
        "rank": math.nan if came is None else 1 + (log_p > log_p[came]).sum(),
        "kl_to_last": (q * (last - log_p)).sum(),
        "js_to_last": ((p * (log_p - np.log(mean))).sum() + (q * (last - np.log(mean))).sum()) / 2,
    }


def assert_row(row, log_p: torch.Tensor, last: torch.Tensor, ids: list[int]) -> None:
    log_p, last = log_p.double().log_softmax(-1).numpy(), last.double().log_softmax(-1).numpy()
    for t, came in enumerate([*ids[1:], None]):
        want = slow_row(log_p[t], last[t], came)
        np.testing.assert_allclose(row.numbers[t], [want[key] for key in COLUMN], rtol=2e-3, atol=2e-4)
        best = np.argsort(-log_p[t], kind="stable")[:10]
        np.testing.assert_allclose(row.top_probabilities[t], np.exp(log_p[t][best]), rtol=1e-3)
        assert row.top_ids[t, 0] == best[0]


@torch.no_grad()
def test_a_plain_model_is_read_by_its_own_head_and_stays_plain(plain, tokenizer):
    ids = tokenizer(TEXT)["input_ids"]
    before, kind, config = plain(torch.tensor([ids])), type(plain), plain.config.to_dict()
    seen = lens(plain, tokenizer, TEXT)
    assert type(plain) is kind and plain.config.to_dict() == config
    out = plain(torch.tensor([ids]), output_hidden_states=True)
    assert torch.equal(out.logits, before.logits) and len(out.hidden_states) == 7
    assert [(row.label, row.kind) for row in seen.rows] == [
        *((f"layer {layer}", "direct") for layer in range(1, 6)),
        ("layer 6", "last"),
    ]
    for layer, row in enumerate(seen.rows, 1):
        state = out.hidden_states[layer]
        logits = plain.lm_head(state if layer == 6 else plain.transformer.ln_f(state))
        assert_row(row, logits[0], out.logits[0], ids)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["SHARED_PROJECTION_CAST_OUTPUTS", "LAYER_SPECIFIC_PROJECTION"])
def test_exits_read_their_layers_and_contrasts_are_those_of_the_model(with_exits, tokenizer, mode):
    model = with_exits(mode)
    setting = model.multi_exit_config
    seen = lens(model, tokenizer, TEXT, contrasts=["acd2", {"name": "dola", "layers": "all"}, "exit4-acd2"])
    assert model.multi_exit_config == setting
    labels = [row.label for row in seen.rows]
    assert labels == ["layer 2", "layer 4", "layer 6", "acd2", "dola", "exit4-acd2"]
    ids = tokenizer(TEXT)["input_ids"]
    batch = torch.tensor([ids])
    last = model(batch).logits[0]
    contrasts = {
        "acd2": {"contrast_layer_indices": ("original", 2)},
        "dola": {
            "contrast_layer_indices": ("original", None),
            "contrast_function": {"name": "dola", "layers": "all"},
        },
        "exit4-acd2": {"contrast_layer_indices": (4, 2)},
    }
    for row in seen.rows:
        if row.kind == "contrast":
            fields = {"contrast_function": None, **contrasts[row.label]}
        else:
            fields = {} if row.kind == "last" else {"output_layer_index": row.layer}
        with model.set_exits(**fields):
            logits = model(batch).logits[0]
        if row.label == "dola":  # rules tokens out: an infinite divergence
            assert np.isinf(row.numbers[:, COLUMN["kl_to_last"]]).any()
            assert row.top_ids[:, 0].tolist() == logits.argmax(-1).tolist()
        else:
            assert_row(row, logits, last, ids)


@torch.no_grad()
def test_the_plausible_set_is_that_of_the_upper_exit(with_exits, tokenizer):
    model = with_exits()
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    p = model(ids).logits[0].softmax(-1)
    with model.set_exits(contrast_layer_indices=("original", 4)):
        contrasted = model(ids).logits[0].exp()
    seen = lens(model, tokenizer, TEXT, contrasts=["acd4", "ensemble4", "sled"])
    acd, ensemble, sled = (row.sets for row in seen.rows[-3:])
    assert ensemble is None and {found.size for found in sled} == {10}
    for t, found in enumerate(acd):
        members = (p[t] >= 0.1 * p[t].max()).nonzero().flatten().tolist()
        assert found.size == len(members) == int(plausible_mask(p[t].log()[None], 0.1).sum())
        assert len(found.token_ids) == min(found.size, lens_reading.SET_SHOWN) and set(found.token_ids) <= set(members)
        assert list(found.upper) == sorted(found.upper, reverse=True)
        torch.testing.assert_close(torch.tensor(found.upper), p[t][list(found.token_ids)])
        torch.testing.assert_close(torch.tensor(found.contrasted), contrasted[t][list(found.token_ids)])


def test_every_layer_of_a_model_with_a_few_exits(with_exits, tokenizer):
    seen = lens(with_exits(), tokenizer, TEXT, layers="all")
    kinds = [row.kind for row in seen.rows]
    assert kinds == ["direct", "exit", "direct", "exit", "direct", "last"]
    some = lens(with_exits(), tokenizer, TEXT, layers=(5, 2))
    assert [row.label for row in some.rows] == ["layer 2", "layer 5", "layer 6"]
    np.testing.assert_array_equal(some.rows[1].numbers, seen.rows[4].numbers)


def test_pieces_and_skipped_positions_change_no_number(plain, tokenizer, monkeypatch):
    whole = lens(plain, tokenizer, TEXT, contrasts=["acd3", "dola3", "delta3"])
    monkeypatch.setattr(lens_reading, "AT_ONCE", 1)  # a position at a time
    part = lens(plain, tokenizer, TEXT, contrasts=["acd3", "dola3", "delta3"], skip=3)
    assert part.positions == whole.positions[3:] and part.tokens == whole.tokens[3:]
    for row, other in zip(part.rows, whole.rows, strict=True):
        np.testing.assert_allclose(row.numbers, other.numbers[3:], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(row.top_ids[:, 0], other.top_ids[3:, 0])
        assert row.sets is None or [s.token_ids for s in row.sets] == [s.token_ids for s in other.sets[3:]]


def test_logits_of_a_16_bit_model_are_not_rounded(with_exits, tokenizer):
    """The product is summed in float32: rounded to bfloat16, likely tokens would tie."""
    model = with_exits(dtype="bfloat16")
    seen = lens(model, tokenizer, TEXT)
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    with torch.no_grad():
        states = model.exit_states(ids, layers=("original",))[6][0]
        exact = (states.double() @ model.lm_head.weight.double().T).log_softmax(-1)
    probability = exact.exp().amax(-1).numpy()
    np.testing.assert_allclose(seen.rows[-1].numbers[:, 0], probability, rtol=1e-5)


def test_scores_that_are_no_probabilities_have_a_rank_alone(plain, tokenizer):
    scores = {"name": "dola", "lower": 3, "alpha": 0, "normalised_over": "nothing"}
    row = lens(plain, tokenizer, TEXT, contrasts=[scores]).rows[-1]
    nothing = np.isnan(row.numbers).all(0)
    assert [measure.key for measure, empty in zip(MEASURES, nothing, strict=True) if not empty] == ["rank"]
    assert np.isnan(row.top_probabilities).all()


@torch.no_grad()
def test_an_encoder_decoder_reads_a_source(tokenizer):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_ff=64, d_kv=8, num_layers=2, num_decoder_layers=3, num_heads=4,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    seen = lens(model, tokenizer, "follows the", source=TEXT)
    ids = [0, *tokenizer("follows the")["input_ids"]]
    logits = model(torch.tensor([tokenizer(TEXT)["input_ids"]]), decoder_input_ids=torch.tensor([ids])).logits[0]
    assert [row.label for row in seen.rows] == ["layer 1", "layer 2", "layer 3"]
    assert_row(seen.rows[-1], logits, logits, ids)
    with pytest.raises(InputError, match="encoder-decoder models need a text for the encoder"):
        lens(model, tokenizer, "follows the")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"text": ""}, "text: there is no token in it"),
        ({"text": "the people " * 300}, "more than the model's 256 positions"),
        ({"layers": [7]}, "layers from 1 to 6, got"),
        ({"layers": [2.5]}, "layers from 1 to 6, got"),
        ({"layers": "some"}, "give 'all', or layers from 1 to 6, got 'some'"),
        ({"contrasts": ["adc"]}, "did you mean acd"),
        ({"contrasts": ["acd-9"]}, "'acd-9' is no contrast; give <method>"),
        ({"contrasts": ["acd9"]}, "the model has no exit 9"),
        ({"contrasts": ["exit1-acd"]}, "no exit below 1"),
        ({"contrasts": 3}, "contrasts: give a list of contrasts"),
        ({"skip": 400}, "skip: the text has"),
        ({"source": "a text"}, "only encoder-decoder models take a text for the encoder"),
    ],
)
def test_what_cannot_be_seen_is_refused(plain, tokenizer, arguments, message):
    with pytest.raises(InputError, match=message):
        lens(plain, tokenizer, **{"text": TEXT, **arguments})


def test_contrasts_are_named_by_what_they_do(plain, tokenizer):
    def strongest(upper_logits, lower_logits):
        return (upper_logits - lower_logits).log_softmax(-1)

    seen = lens(plain, tokenizer, TEXT, contrasts=["acd", "acd", strongest, {"name": "cd", "lower": 2}])
    assert [row.label for row in seen.rows[6:]] == ["acd5", "acd5 (2)", "strongest5", "cd2"]
    named = lens(plain, tokenizer, TEXT, contrasts={"mine": strongest, "theirs": "none"}, lower=1)
    assert [row.label for row in named.rows[6:]] == ["mine", "theirs"]


def test_threads_with_settings_of_their_own_do_not_disturb_the_lens(with_exits, tokenizer):
    model = with_exits()
    model.set_exits(output_layer_index=2)
    other = copy.copy(model)
    lens(model, tokenizer, TEXT, contrasts=["acd2"])
    assert model.multi_exit_config.output_layer_index == other.multi_exit_config.output_layer_index == 2
