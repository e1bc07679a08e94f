"""Holding documents out, finding duplicates, and mixing sources."""

import random
from itertools import islice

from autocontrastive_gen.data.selection import Document, Seen, hold_out, interleaved, shuffled

DOCUMENTS = [Document.of(f"document number {i}") for i in range(200)]


def test_the_same_content_has_the_same_digest():
    assert Document.of("A  Word, again!").digest == Document.of("a word -- again").digest
    assert Document.of("a word").digest != Document.of("aword").digest


def test_seen_knows_what_was_added():
    seen = Seen(size=1 << 16)
    assert [seen.add(document.digest) for document in DOCUMENTS] == [False] * 200
    assert all(seen.add(document.digest) for document in DOCUMENTS)


def test_seen_errs_as_rarely_as_documented():
    """At 10 bits per digest and seven hashes, about 0.8 % of new digests are taken for known ones at the end."""
    seen, count = Seen(size=12_500), 10_000
    wrong = sum(seen.add(Document.of(str(i)).digest) for i in range(count))
    assert 0 < wrong < count * 0.008


def test_held_out_documents_depend_on_seed_and_content_alone():
    held = hold_out(DOCUMENTS, 20, seed=1)
    mixed = random.Random(0).sample(DOCUMENTS, len(DOCUMENTS))
    assert hold_out(mixed, 20, seed=1) == held
    assert hold_out(DOCUMENTS, 10, seed=1) == held[:10]
    assert hold_out(DOCUMENTS, 20, seed=2) != held
    without_others = [document for i, document in enumerate(DOCUMENTS) if i % 2 or document in held]
    assert hold_out(without_others, 20, seed=1) == held


def test_shuffle_buffer():
    assert list(shuffled(DOCUMENTS, 0, 1)) == DOCUMENTS
    mixed = list(shuffled(iter(DOCUMENTS), 50, 1))
    assert mixed != DOCUMENTS and sorted(mixed, key=DOCUMENTS.index) == DOCUMENTS
    assert list(shuffled(DOCUMENTS, 50, 1)) == mixed
    read = []
    next(shuffled((read.append(document) or document for document in DOCUMENTS), 50, 1))
    assert len(read) == 51


def test_any_prefix_holds_about_as_much_of_each_source():
    long = [Document.of("long " * 30 + str(i)) for i in range(20)]
    short = [Document.of("short " * 5 + str(i)) for i in range(200)]
    mixed = list(interleaved({"long": iter(long), "short": iter(short)}, 600))
    words = {"long": 0, "short": 0}
    for source, document in mixed:
        words[source] += len(document.text.split())
        assert abs(words["long"] - words["short"]) <= 31
    assert sum(words.values()) >= 600 > sum(words.values()) - 31


def test_other_sources_fill_in_for_an_exhausted_one():
    few, many = [Document.of("one two three")], iter([Document.of(f"{i} a b c") for i in range(10_000)])
    mixed = list(interleaved({"few": iter(few), "many": many}, 100))
    assert [source for source, _ in mixed].count("few") == 1
    assert sum(len(document.text.split()) for _, document in mixed) >= 100
    assert next(islice(many, 1)) is not None  # the rest was never read
