from hypothesis import given
from hypothesis import strategies as st

from autocontrastive_gen.data.prompts import SPACE, from_paragraphs, prompt_rows
from autocontrastive_gen.data.selection import Document

LINES = ["a short line", "one " * 60, "two " * 60, "the end"]


def test_a_prompt_begins_with_a_paragraph_of_enough_words():
    document = Document.of("\n".join(line.strip() for line in LINES))
    (text,) = from_paragraphs(document, 51, seed=1)
    assert text.split()[0] in ("one", "two") and text.endswith("the end")
    assert {from_paragraphs(document, 51, seed)[0].split()[0] for seed in range(20)} == {"one", "two"}
    assert from_paragraphs(document, 51, seed=1) == [text]
    (row,) = prompt_rows("domain", document, [text], 32)
    assert row["prompt"].split() == text.split()[:32] and row["human"].split() == text.split()[32:]
    assert row["id"] == row["document"]


def test_a_document_of_short_lines_is_taken_whole():
    document = Document.of("a line\nanother line")
    assert from_paragraphs(document, 51, seed=1, most=3) == [document.text]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=40), st.integers(0, 99), st.integers(2, 5))
def test_prompts_of_one_document_share_no_word(lengths, seed, most):
    words = iter(range(10**6))
    lines = [" ".join(str(next(words)) for _ in range(length)) for length in lengths]
    document = Document.of("\n".join(lines))
    texts = from_paragraphs(document, 51, seed, most)
    spans = sorted([int(word) for word in text.split()] for text in texts)
    long_enough = [int(line.split()[0]) for line, length in zip(lines, lengths, strict=True) if length >= 51]
    assert 1 <= len(texts) <= most and {span[0] for span in spans} <= set(long_enough or [0])
    assert all(first[0] + SPACE <= second[0] == first[-1] + 1 for first, second in zip(spans, spans[1:], strict=False))
    alone = from_paragraphs(document, 51, seed)
    assert alone[0].startswith(texts[0])
    if len(texts) < most:  # no further paragraph would have had room
        starts = [span[0] for span in spans]
        assert all(min(abs(start - other) for other in starts) < SPACE for start in long_enough or [0])


def test_rows_have_names_of_their_own_and_that_of_their_document():
    document = Document.of(" ".join(map(str, range(400))))
    texts = [" ".join(map(str, range(start, start + 100))) for start in (200, 0)]
    rows = prompt_rows("news", document, texts, 32)
    name = f"news-{document.digest[:12]}"
    assert [row["id"] for row in rows] == [name, f"{name}-2"] and {row["document"] for row in rows} == {name}
    assert [row["prompt"].split()[0] for row in rows] == ["200", "0"]
