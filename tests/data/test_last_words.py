"""Which words of a text are targets of the last-word task."""

import pytest

from autocontrastive_gen.data import last_words
from autocontrastive_gen.data.selection import Document

FILLER = " ".join(["filler"] * 44)
CONTEXT = f"The ferryman Barlow kept an old lantern and a dog, and {FILLER}. It rained."


def targets(sentence, context=CONTEXT):
    (pairs,) = last_words.pairs_of([Document.of(f"{context} {sentence}")], seed=1)
    return {target for _, target in pairs}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("At night nobody could find the lantern.", {"lantern"}),
        ('At night he cried: "Where is the lantern?"', {"lantern"}),
        ("At night the lantern was lost.", set()),  # another word than a name must end its sentence
        ("At night nobody could find the candle.", set()),  # not in the passage
        ("At night it fell on its old.", {"old"}),
        ("At night nobody knew what he had kept and.", set()),  # a function word
        ("At night they called for Barlow, who slept.", {"Barlow"}),
        ("At night they called for Barlow.", {"Barlow"}),
        ("At night they heard the dog of Barlow's friend.", set()),
        ("Barlow slept.", set()),  # the first word of any sentence is capitalised
        ("They called Barlow, who slept.", set()),  # too close to the start of the sentence
        ("At night they called for Tom Barlow, who slept.", set()),  # the first name gives it away
        ('At night one said: "Barlow is gone", and left.', set()),  # begins a sentence within the sentence
        ("At night they called for It again.", set()),  # fewer than three letters
    ],
)
def test_targets(sentence, expected):
    assert targets(sentence) == expected


def test_a_capitalised_word_that_also_occurs_in_lower_case_is_not_a_name():
    assert targets("At night they called the Ferryman, who slept.") == set()
    assert targets("At night they called the Ferryman, who slept.", CONTEXT.replace("ferryman", "Ferryman")) == {
        "Ferryman"
    }


def test_the_context_is_long_enough_and_stops_before_the_target():
    (pairs,) = last_words.pairs_of([Document.of(f"{CONTEXT} At night they called for Barlow, who slept.")], seed=1)
    assert pairs == [(f"{CONTEXT} At night they called for", "Barlow")]
    (pairs,) = last_words.pairs_of([Document.of("Barlow slept. At night they called for Barlow.")], seed=1)
    assert pairs == []


def test_names_and_other_words_alternate():
    text = CONTEXT + " At night we saw Barlow. By day he lit the lantern." * 3
    (pairs,) = last_words.pairs_of([Document.of(text)], seed=1)
    names = [target == "Barlow" for _, target in pairs]
    assert names == [True, False] * 3 and {target for _, target in pairs} == {"Barlow", "lantern"}
    (other,) = last_words.pairs_of([Document.of(text)], seed=2)
    assert sorted(other) == sorted(pairs)


def test_words_of_many_documents_are_common():
    documents = [Document.of(f"{CONTEXT} Night {i}. At night nobody could find the lantern.") for i in range(3)]
    assert not any(last_words.pairs_of(documents, seed=1))
    others = [Document.of(f"Something else, number {i}.") for i in range(12)]
    assert sum(map(bool, last_words.pairs_of([*documents, *others], seed=1))) == 3
