"""Texts as a caller gives them: what is refused, and what is held out."""

import pytest
from tiny import WordTokenizer

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.training.texts import by_domain, hold_out, stream


@pytest.mark.parametrize("texts", [["a", "b"], ("a", "b"), iter(["a", "b"]), lambda: ["a", "b"], lambda: iter("ab")])
def test_any_iterable_of_strings_and_any_function_that_makes_one(texts):
    assert list(stream(texts)) == ["a", "b"]


def test_a_function_is_called_only_when_texts_are_needed():
    stream(lambda: 1 / 0)


@pytest.mark.parametrize("texts", ["one text", b"one", {"a": "b"}, 3, None, lambda: "one text"])
def test_what_is_no_iterable_of_strings_is_refused(texts):
    with pytest.raises(InputError, match="texts: give an iterable of strings such as a list, got a "):
        list(stream(texts))


def test_rows_are_refused_with_the_way_to_read_them():
    with pytest.raises(InputError, match=r"texts: item 1 is a dict; .*row\['text'\] for row in rows"):
        list(stream(["a", {"text": "b"}]))


def words(*lengths: int) -> list[str]:
    """Texts of so many tokens, their ends included."""
    return [" ".join(["cat"] * (length - 1)) for length in lengths]


def tokens(texts) -> int:
    return sum(1 + len(text.split()) for text in texts)


def test_a_tenth_is_held_out_and_nothing_is_lost():
    texts = words(*range(2, 102))
    held, others = hold_out(iter(texts), WordTokenizer(), block_size=16, tokens=10**6)
    others = list(others)
    assert sorted([*held, *others], key=len) == texts and not set(held) & set(others)
    assert 0.08 < tokens(held) / tokens(texts) < 0.12


def test_enough_is_enough():
    texts = words(*[20] * 500)
    reading = iter(texts)
    held, others = hold_out(reading, WordTokenizer(), block_size=16, tokens=100)
    assert 100 <= tokens(held) < 120
    assert next(reading) and len(list(others)) == 500 - len(held) - 1


def test_the_first_block_is_held_out_whatever_there_is():
    held, others = hold_out(iter(words(10, 10, 10)), WordTokenizer(), block_size=16, tokens=100)
    assert len(held) == 2 and len(list(others)) == 1


def test_validation_by_domain_or_without_one():
    assert {name: list(texts) for name, texts in by_domain(["a"]).items()} == {"validation": ["a"]}
    assert {name: list(texts) for name, texts in by_domain({"x": ["a"], "y": ["b"]}).items()} == {
        "x": ["a"],
        "y": ["b"],
    }
    with pytest.raises(InputError, match="validation: there is no domain"):
        by_domain({})
    with pytest.raises(InputError, match="validation texts of x: give an iterable"):
        list(by_domain({"x": "one text"})["x"])
