from autocontrastive_gen.data.prompts import from_paragraph, prompt_row
from autocontrastive_gen.data.selection import Document

LINES = ["a short line", "one " * 60, "two " * 60, "the end"]


def test_a_prompt_begins_with_a_paragraph_of_enough_words():
    document = Document.of("\n".join(line.strip() for line in LINES))
    text = from_paragraph(document, 51, seed=1)
    assert text.split()[0] in ("one", "two") and text.endswith("the end")
    assert {from_paragraph(document, 51, seed).split()[0] for seed in range(20)} == {"one", "two"}
    assert from_paragraph(document, 51, seed=1) == text
    row = prompt_row("domain", document, text, 32)
    assert row["prompt"].split() == text.split()[:32] and row["human"].split() == text.split()[32:]


def test_a_document_of_short_lines_is_taken_whole():
    document = Document.of("a line\nanother line")
    assert from_paragraph(document, 51, seed=1) == document.text
