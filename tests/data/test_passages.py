"""Sentences, and the passages that end with them."""

from autocontrastive_gen.data.passages import passages, sentences
from autocontrastive_gen.data.selection import Document


def test_sentences_end_at_stops_and_paragraphs():
    text = 'He said "Go." Then 3 men left. Dr. no\nA title\n"Why?" (Because.)  See p. 4 '
    assert sentences(text) == [
        'He said "Go."', "Then 3 men left.", "Dr. no", "A title", '"Why?"', "(Because.)", "See p.", "4"
    ]  # fmt: skip


def test_titles_and_initials_end_no_sentence():
    assert sentences("We saw Mrs. Lee and J. R. Smith. Dr. Who left St. Ives! So did I. Good.") == [
        "We saw Mrs. Lee and J. R. Smith.",
        "Dr. Who left St. Ives!",
        "So did I.",
        "Good.",
    ]


def test_a_passage_is_the_fewest_whole_sentences_that_hold_the_words():
    document = Document.of("One two three. Four five. Six seven eight nine. Ten. " + "Word " * 9 + "end. Last one.")
    assert list(passages(document, 4)) == [
        ("One two three. Four five.", "Six seven eight nine."),
        ("Six seven eight nine.", "Ten."),
        ("Six seven eight nine. Ten.", "Word " * 9 + "end."),
    ]
