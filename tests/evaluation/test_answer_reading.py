"""Answers under every exit, against the benchmark's own scoring and slow counts."""

import pytest
from lm_eval.api.instance import Instance
from transformers import AutoTokenizer

from autocontrastive_gen.evaluation.answer_kinds import EARLIER, OTHER, RIGHT, STOP, is_stop_word, kind_of
from autocontrastive_gen.evaluation.answer_reading import AnswerLM, rows_of
from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.pipeline.exit_answers import views

PAIRS = [
    ("The road from Holkeswick follows", " the Torhol to the clock"),
    ("Since then", " the lantern"),
    ("In winter the people of Holkeswick sell", " wool"),
    ("In winter the people of Holkeswick sell", " wool wool"),
]


@pytest.fixture(scope="module")
def lm(smoke_model_folder):
    exits = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (2, 4))
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=exits).eval()
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    contrast = Acd(0.3)
    lm = AnswerLM(model, tokenizer, 3, views(model.exit_layers, contrast), contrast.alpha)
    lm.scores = lm.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)])
    return lm


def test_every_view_scores_as_the_benchmark_does(lm):
    assert [*lm.views] == ["original", "exit2", "exit4", "acd2", "acd4"]
    for view, setting in lm.views.items():
        plain = {"use_original_head": False} if view != "original" else {}
        with lm.model.set_exits(**plain, **setting):
            own = MultiExitLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=2)
            wanted = own.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)])
        found = [lm.read[pair][view] for pair in PAIRS]
        assert [answer.matches for answer in found] == [greedy for _, greedy in wanted]
        assert [answer.log_probability for answer in found] == pytest.approx([value for value, _ in wanted], abs=1e-4)
        if view == "original":
            assert lm.scores == [(answer.log_probability, answer.matches) for answer in found]


def test_first_choices_and_plausible_tokens_are_those_of_a_plain_pass(lm):
    for context, continuation in PAIRS:
        ids, answer = (lm.tokenizer(text, return_tensors="pt").input_ids for text in (context, continuation))
        whole = lm.tokenizer(context + continuation, return_tensors="pt").input_ids
        assert whole.shape[1] == ids.shape[1] + answer.shape[1]
        with lm.model.set_exits(use_original_head=True):
            logits = lm.model(whole).logits[0, ids.shape[1] - 1 : -1]
        probabilities = logits.softmax(-1)
        of_tokens = [float(p[token]) for p, token in zip(probabilities, answer[0], strict=True)]
        found = lm.read[context, continuation]["original"]
        assert found.first == int(logits[0].argmax()) and found.starts == (found.first == int(answer[0, 0]))
        assert found.plausible == sum(
            p >= 0.3 * float(row.max()) for p, row in zip(of_tokens, probabilities, strict=True)
        )
        allowed = [token for token in range(len(lm.tokenizer)) if not is_stop_word(lm.tokenizer.decode([token]))]
        best = max(allowed, key=lambda token: float(logits[0, token]))
        rest = all(int(row.argmax()) == int(token) for row, token in zip(logits[1:], answer[0, 1:], strict=True))
        assert found.filtered == (best == int(answer[0, 0]) and rest)


@pytest.mark.parametrize(
    ("token", "kind"),
    [(" the", STOP), (" The", STOP), (",", STOP), ("\n", STOP), (" lantern", EARLIER), (" wool", OTHER), ("7", OTHER)],
)
def test_a_wrong_first_choice_has_a_kind(token, kind):
    assert kind_of(token, 'They lit a "Lantern," and left.') == kind


def samples(target: object = 1) -> dict:
    choice = {"doc_id": 0, "doc": {"id": "q1"}, "arguments": PAIRS[2:], "target": target}
    words = [{"doc_id": i, "doc": {"document": "d"}, "arguments": [PAIRS[i]], "target": ""} for i in (1, 0)]
    return {"words": words, "choices": [choice]}


def test_rows_name_items_and_views(lm):
    rows = list(rows_of(lm, samples()))
    assert [(row["task"], row["id"], row["document"], row["view"]) for row in rows] == [
        *(("words", i, "d", view) for i in (0, 1) for view in lm.views),
        *(("choices", "q1", "q1", view) for view in lm.views),
    ]
    for row, pair in zip(rows, [PAIRS[0]] * 5 + [PAIRS[1]] * 5, strict=False):
        answer = lm.read[pair][row["view"]]
        assert row["right"] == answer.matches and row["filtered"] == answer.filtered
        assert (row["kind"] == RIGHT) is answer.starts
    for row in rows[10:]:
        first, second = (lm.read[pair][row["view"]] for pair in PAIRS[2:])
        assert row["margin"] == pytest.approx(second.log_probability - first.log_probability, abs=1e-5)
        assert row["right"] == (row["margin"] > 0)
        plausible, tokens = first.plausible + second.plausible, first.tokens + second.tokens
        assert row["plausible"] == pytest.approx(plausible / tokens, abs=1e-5)


def test_a_task_without_a_right_answer_is_named(lm):
    with pytest.raises(InputError, match=r"answers: choices does not say .* remove it from analyse.answers"):
        list(rows_of(lm, samples(target="")))
