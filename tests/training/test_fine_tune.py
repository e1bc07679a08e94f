"""Tasks and span corruption on tiny models: what carries loss, what learns, what stays."""

import json
import string
import sys

import pytest
import torch
from tiny import build_model

from autocontrastive_gen.training import fine_tune as module
from autocontrastive_gen.training.fine_tune import collator, encode_spans, encode_tasks, fine_tune
from autocontrastive_gen.training.spans import corrupt

FAST = {"num_train_epochs": 12, "per_device_train_batch_size": 8, "logging_steps": 1, "disable_tqdm": True}


def letter_tokenizer(**special):
    """One token per letter, from 4 on; sentinels at the end of the vocabulary."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{f"<extra_id_{i}>": 63 - i for i in range(10)}}
    vocabulary |= {letter: 4 + i for i, letter in enumerate(string.ascii_lowercase)}
    letters = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    letters.normalizer = normalizers.Replace(" ", "")
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>", **special)


@pytest.fixture
def tokenizer():
    return letter_tokenizer(pad_token="<pad>")


def t5():
    from transformers import T5Config, T5ForConditionalGeneration

    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_decoder_layers": 3}
    config = T5Config(**sizes, num_heads=2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    configuration = MultiExitConfiguration(lm_head_layer_indices=(1, 2))
    return AutoMultiExitModel.from_model(T5ForConditionalGeneration(config), multi_exit_config=configuration)


ROWS = [{"source": "abcd", "target": "xy"}, {"source": "cdef", "target": "zy"}] * 8


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def moved(model, before) -> set[str]:
    return {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder", "spans"])
def test_training_lowers_the_loss_and_moves_the_exits_alone(tokenizer, kind):
    model = build_model("LAYER_SPECIFIC_PROJECTION") if kind == "decoder" else t5()
    data, objective = (["abcdefghijklmnop" * 2] * 16, "spans") if kind == "spans" else (ROWS, "task")
    before = snapshot(model)
    losses = fine_tune(model, tokenizer, data, objective=objective, max_length=32, learning_rate=0.02, **FAST)
    assert losses[-1] < 0.8 * losses[0]
    changed = moved(model, before)
    assert changed and all("lm_exit_head" in name for name in changed)
    assert len(changed) == len(model.exit_layers)


def test_the_trunk_learns_too_if_it_is_not_frozen(tokenizer):
    model = build_model("LAYER_SPECIFIC_PROJECTION")
    before = snapshot(model)
    fine_tune(model, tokenizer, ROWS, max_length=16, freeze=False, **FAST)
    assert any("layers.0" in name for name in moved(model, before))


def test_only_the_target_carries_loss(tokenizer):
    (example,) = encode_tasks([{"source": "abc", "target": "xy"}], tokenizer, False, 16)
    assert example["labels"][:3] == [-100] * 3 and example["labels"][3:] == example["input_ids"][3:]
    assert example["input_ids"][-1] == 1
    (short,) = encode_tasks([{"source": "abcdef", "target": "xy"}], tokenizer, False, 5)
    assert short["input_ids"] == example["input_ids"][:0] + [8, 9, 27, 28, 1]


def test_a_long_target_of_an_encoder_decoder_keeps_its_end_token_and_is_counted(tokenizer, caplog):
    rows = [{"source": "abcdefgh", "target": "uvwxyz"}, {"source": "ab", "target": "xyz"}]
    long, short = encode_tasks(rows, tokenizer, True, 4)
    assert long == {"input_ids": [9, 10, 11, 1], "labels": [24, 25, 26, 1]}
    assert short["labels"] == [27, 28, 29, 1]
    assert "1 of 2 targets were cut to max_length=4 tokens; raise it" in caplog.text


@pytest.mark.parametrize(
    ("special", "pad"), [({"pad_token": "<pad>"}, 0), ({}, 1), ({"pad_token": "<pad>", "padding_side": "left"}, 0)]
)
def test_padding_is_on_the_right_masked_and_without_loss(special, pad):
    rows = [{"source": "abcd", "target": "x"}, {"source": "a", "target": "x"}]
    tokenizer = letter_tokenizer(**special)
    batch = collator(tokenizer)(encode_tasks(rows, tokenizer, False, 16))
    assert batch["attention_mask"].tolist() == [[1] * 6, [1] * 3 + [0] * 3]
    assert (batch["labels"][1, 3:] == -100).all() and (batch["input_ids"][1, 3:] == pad).all()
    assert tokenizer.padding_side == special.get("padding_side", "right") and (tokenizer.pad_token is None) == (
        pad == 1
    )


def test_the_spans_of_a_text_are_drawn_by_its_number(tokenizer):
    texts = ["abcdefghijklmnop" * 2] * 3
    first, second, _ = encode_spans(texts, tokenizer, 32, seed=0)
    assert first != second and encode_spans(texts, tokenizer, 32, seed=0)[1] == second
    assert encode_spans(texts, tokenizer, 32, seed=1)[0] != first
    assert len(encode_spans(texts, tokenizer, 8, seed=0)[0]["input_ids"]) <= 9


def test_data_that_cannot_be_learned_from_is_refused(tokenizer):
    with pytest.raises(ValueError, match="there is no example"):
        fine_tune(t5(), tokenizer, [])
    with pytest.raises(ValueError, match="objective: 'span' must be task or spans"):
        fine_tune(t5(), tokenizer, ["ab"], objective="span")
    with pytest.raises(ValueError, match="texts: item 0 is a dict"):
        fine_tune(t5(), tokenizer, ROWS, objective="spans")


def test_faulty_rows_are_named(tokenizer):
    with pytest.raises(ValueError, match="row 1: target is missing or empty"):
        encode_tasks([{"source": "a", "target": "b"}, {"source": "a"}], tokenizer, False, 8)
    with pytest.raises(ValueError, match="row 0: source, target is missing"):
        encode_tasks(["ab"], tokenizer, False, 8)
    with pytest.raises(ValueError, match="row 0: a target of 9 tokens leaves no room in max_length=8"):
        encode_tasks([{"source": "a", "target": "bcdefghi"}], tokenizer, False, 8)


@pytest.mark.parametrize("length", [2, 3, 10, 100])
def test_corrupted_text_and_target_give_back_the_text(length):
    tokens, sentinels = list(range(1000, 1000 + length)), list(range(50))
    inputs, target = corrupt(tokens, sentinels, eos=99, generator=torch.Generator().manual_seed(length))
    assert inputs[-1] == target[-1] == 99 and inputs[0] == tokens[0]
    spans, current = {}, None
    for token in target[:-1]:
        if token < 50:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    restored = [token for part in inputs[:-1] for token in (spans[part] if part < 50 else [part])]
    assert restored == tokens
    assert list(spans) == sentinels[: len(spans)] and all(spans.values())
    if length == 100:
        assert sum(map(len, spans.values())) == 15 and len(spans) == 5


def test_span_corruption_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="at least 2 tokens"):
        corrupt([5], [1], 0, torch.Generator())
    with pytest.raises(ValueError, match="5 spans, but there are 2 sentinels"):
        corrupt(list(range(100)), [1, 2], 0, torch.Generator())


def test_the_command_trains_and_saves_a_model_that_opens(tmp_path, smoke_model_folder, monkeypatch):
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel

    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps({"source": "the cat", "target": "sat"}) for _ in range(4)))
    output = tmp_path / "out"
    arguments = ["--model", str(smoke_model_folder), "--exits", "2;4", "--data", str(data), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["fine_tune", *arguments, "--epochs", "1", "--batch-size", "2"])
    module.main()
    assert AutoMultiExitModel.from_pretrained(output).exit_layers == (2, 4)
    monkeypatch.setattr(sys, "argv", ["fine_tune", *arguments, "--objective", "spans"])
    with pytest.raises(ValueError, match="is decoder-only"):
        module.main()
