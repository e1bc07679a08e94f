"""The first screen: words that claim no more than the intervals do, and repetitions found as a reader would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocontrastive_gen.report.opening import LOOP, with_repetitions

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d."]), max_size=40)


def test_a_loop_is_marked_from_its_second_round_on():
    text = "He was the first to speak. He was the first to speak. He was the first, again."
    assert with_repetitions(text) == [
        ("He was the first to speak.", False),
        (" He was the first to speak. He was the first,", True),
        (" again.", False),
    ]


@pytest.mark.parametrize("text", ["", "one", "the same three words, the same three things", "\n\n "])
def test_text_without_a_loop_is_whole(text):
    assert "".join(part for part, _ in with_repetitions(text)) == text
    assert not any(again for _, again in with_repetitions(text))


@given(WORDS)
def test_a_word_is_repeated_if_a_run_that_holds_it_stood_before(words):
    text = " ".join(words)
    flat = [again for part, again in with_repetitions(text) for _ in part.split()]
    runs = [tuple(words[i : i + LOOP]) for i in range(len(words) - LOOP + 1)]
    for i in range(len(words)):
        mine = [k for k in range(max(0, i - LOOP + 1), i + 1) if k < len(runs)]
        assert flat[i] == any(runs[k] in runs[:k] for k in mine)


def test_the_page_opens_with_the_answer_the_pair_and_the_cost(report):
    page = (report / "index.html").read_text()
    header = page.partition("<nav")[0]
    assert "When made contrasts its layers, its greedy text repeats itself less" in header
    assert "Plain <code>greedy</code>" in header and "With contrast <code>greedy-acd</code>" in header
    assert header.count("<dt>") == 3 and "tokens per second relative to plain" in header
    assert "<b>north</b>" not in header, "texts are escaped"
