"""From fetched corpora to the inputs of all other stages."""

import lzma
from pathlib import Path

import pytest

from autocontrastive_gen.data.preparation import Preparation
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import read_json, read_jsonl

PATHS = Paths("test")
RECORD = {
    "kind": "path",
    "source": "s",
    "revision": "",
    "sha256": None,
    "licence": "MIT",
    "note": "",
    "evaluation_only": False,
}


def domain(asset, **more):
    defaults = {
        "format": "txt",
        "files": "*",
        "text_field": "text",
        "where": {},
        "rules": "none",
        "prompt_at": "document",
        "prompts_per_document": 1,
        "prompts": None,
        "title": asset,
    }
    return defaults | {"asset": asset} | more


def plan(**changes):
    training = {"sources": ["made-a", "made-b"], "documents": None, "tokens": 3000, "shuffle_buffer": 0}
    return {
        "prompts": 6,
        "validation_prompts": 4,
        "validation_documents": 5,
        "prompt_words": 8,
        "min_words": 20,
        "benchmark_items": {"last-word": 6, "continuation": 6},
        "benchmark_validation_items": {"last-word": 3},
        "benchmark_sources": {},
        "training": training | changes.pop("training", {}),
        "seed": 7,
        "sources": {"made-a": domain("made-a"), "made-b": domain("made-b")},
        "domains": ["made-a", "made-b"],
        "tasks": ["last-word", "continuation", "lambada_openai"],
    } | changes


@pytest.fixture
def corpora(project, smoke_folder):
    for name in ("made-a", "made-b"):
        PATHS.asset(name).mkdir(parents=True)
        (PATHS.asset(name) / "text.txt").write_bytes((smoke_folder / "text" / f"{name}.txt").read_bytes())
    return {"made-a": RECORD, "made-b": RECORD}


def written():
    return {path: path.read_bytes() for path in sorted(PATHS.prepare.rglob("*")) if path.is_file()}


def documents_of(rows):
    """Digests in the rows' ids."""
    return {row["id"].split("-")[2] for row in rows}


def test_no_document_has_two_uses(corpora):
    Preparation(plan(), PATHS, corpora).run()
    uses = {"validation": documents_of(read_jsonl(PATHS.validation_text))}
    uses["training"] = documents_of(row for path in PATHS.training_text.iterdir() for row in read_jsonl(path))
    for split in ("test", "validation"):
        rows = [row for name in corpora for row in read_jsonl(PATHS.prompts(name, split))]
        uses[f"prompts {split}"] = documents_of(rows)
    for folder in (PATHS.tasks, PATHS.validation_tasks):
        uses[folder.name] = set().union(*(documents_of(read_jsonl(path)) for path in folder.glob("*.jsonl")))
        assert uses[folder.name]
    assert read_json(PATHS.validation_tasks / "items.json") == {"last-word": 3}
    counted = ("prompts test", "prompts validation", "validation")
    assert {name: len(uses[name]) for name in counted} == {
        "prompts test": 12,
        "prompts validation": 8,
        "validation": 10,
    }
    assert len(uses["training"]) > 20 and sum(map(len, uses.values())) == len(set().union(*uses.values()))


def test_a_task_may_have_sources_of_its_own(corpora):
    """The corpus of the prompts again, and another one: no document of a prompt becomes an item."""
    sources = plan()["sources"] | {"again": domain("made-a")}
    settings = {"domains": ["made-a"], "benchmark_sources": {"last-word": ["again", "made-b"]}, "sources": sources}
    card = Preparation(plan(**settings), PATHS, corpora).run()
    items = read_jsonl(PATHS.tasks / "last-word.jsonl")
    assert {item["domain"] for item in items} == {"made-b"} and len(items) == 6
    assert {item["domain"] for item in read_jsonl(PATHS.tasks / "continuation.jsonl")} == {"made-a"}
    assert card["sources"]["again"]["counts"]["duplicates"] == card["sources"]["again"]["counts"]["read"]
    assert "prompts" not in card["sources"]["made-b"]["counts"] and not PATHS.prompts("made-b").exists()
    used = documents_of(items) | documents_of(read_jsonl(PATHS.prompts("made-a")))
    trained = documents_of(row for path in PATHS.training_text.iterdir() for row in read_jsonl(path))
    assert trained and not used & trained


def test_a_document_may_give_several_prompts(project):
    """One domain of few long articles, with a number of prompts of its own, beside one of many short documents."""
    for name, count, paragraphs in (("long", 8, 12), ("short", 30, 1)):
        words = (f"{name}{i}" for i in range(10**6))
        articles = [
            "\n".join(" ".join(next(words) for _ in range(60)) for _ in range(paragraphs)) for _ in range(count)
        ]
        PATHS.asset(name).mkdir(parents=True)
        (PATHS.asset(name) / "text.txt").write_text("\n\n".join(articles))
    several = {"prompt_at": "paragraph", "prompts_per_document": 3, "prompts": 10}
    sources = {"long": domain("long", **several), "short": domain("short")}
    settings = {"sources": sources, "domains": ["long", "short"], "tasks": [], "benchmark_validation_items": {}}
    settings["validation_documents"] = 1
    records = {"long": RECORD, "short": RECORD}
    prepared = plan(**settings, training={"sources": ["short"]})
    card = Preparation(prepared, PATHS, records).run()
    rows = {split: read_jsonl(PATHS.prompts("long", split)) for split in ("test", "validation")}
    assert [len(found) for found in rows.values()] == [10, 4] and len(read_jsonl(PATHS.prompts("short"))) == 6
    documents = {split: {row["document"] for row in found} for split, found in rows.items()}
    assert [len(found) for found in documents.values()] == [4, 2] and not set.intersection(*documents.values())
    spoken = [word for found in rows.values() for row in found for word in f"{row['prompt']} {row['human']}".split()]
    assert len(spoken) == len(set(spoken)), "no word is in two prompts or continuations"
    assert card["sources"]["long"]["counts"]["prompt_documents"] == 4
    sources["long"] |= {"prompts": 25}
    with pytest.raises(ValueError, match="8 documents .* at most prompts_per_document = 3 .*prompts = 25"):
        Preparation(prepared, PATHS, records).run()


def test_validation_items_change_no_other_text(corpora):
    """A task that only chooses needs no reported items, and its items come from its own sources."""
    Preparation(plan(benchmark_validation_items={}), PATHS, corpora).run()
    before = written()
    Preparation(plan(benchmark_validation_items={"last-word": 3}), PATHS, corpora).run()
    for path in (PATHS.tasks / "last-word.jsonl", PATHS.prompts("made-a"), PATHS.prompts("made-b", "validation")):
        assert written()[path] == before[path]
    settings = {"tasks": ["lambada_openai"], "benchmark_sources": {"last-word": ["made-b"]}}
    card = Preparation(plan(**settings), PATHS, corpora).run()
    rows = read_jsonl(PATHS.validation_tasks / "last-word.jsonl")
    assert len(rows) == 3 and {row["domain"] for row in rows} == {"made-b"}
    assert card["sources"]["made-b"]["counts"]["benchmark_validation_documents"] > 0
    with pytest.raises(ValueError, match="prepare.benchmark_validation_items.last-word: 900 items were asked for"):
        Preparation(plan(benchmark_validation_items={"last-word": 900}), PATHS, corpora).run()


def test_the_same_bytes_again_and_prompts_stay_when_training_changes(corpora):
    Preparation(plan(), PATHS, corpora).run()
    first = written()
    Preparation(plan(), PATHS, corpora).run()
    assert written() == first and not list(Path(".scratch").rglob("*.jsonl"))
    Preparation(plan(training={"tokens": 500, "shuffle_buffer": 10}), PATHS, corpora).run()
    changed = {path for path, content in written().items() if first[path] != content}
    assert {path.name for path in changed} == {"text-00000.jsonl", "card.json"}


def test_prompts_are_the_first_words(corpora):
    Preparation(plan(), PATHS, corpora).run()
    text = " ".join((PATHS.asset("made-a") / "text.txt").read_text().split())
    for row in read_jsonl(PATHS.prompts("made-a")):
        assert len(row["prompt"].split(" ")) == 8 and f"{row['prompt']} {row['human']}" in text


def test_the_card_counts_every_filter(corpora):
    text = PATHS.asset("made-a") / "text.txt"
    first = text.read_text().split("\n\n")[0]
    text.write_text(text.read_text() + f"\n\n{first.upper()}\n\nToo short.\n\n  \n")
    card = Preparation(plan(), PATHS, corpora).run()
    assert read_json(PATHS.data_card) == card
    counts = card["sources"]["made-a"]["counts"]
    assert (counts["read"], counts["duplicates"], counts["short"]) == (123, 1, 1)
    rows = [row for path in PATHS.training_text.iterdir() for row in read_jsonl(path) if row["source"] == "made-a"]
    assert counts["training_documents"] == len(rows)
    assert counts["training_words"] == sum(len(row["text"].split()) for row in rows)
    assert card["sources"]["made-a"]["licence"] == "MIT"


def test_budget_and_number_of_documents(corpora):
    card = Preparation(plan(training={"tokens": 1000}), PATHS, corpora).run()
    words = sum(source["counts"]["training_words"] for source in card["sources"].values())
    assert 1000 <= words < 1150
    card = Preparation(plan(training={"documents": 3}), PATHS, corpora).run()
    assert [source["counts"]["training_documents"] for source in card["sources"].values()] == [3, 3]


def test_a_streamed_source_trains_and_gives_no_prompts(corpora, server):
    lines = "\n\n".join(f"Streamed document number {i}.\nIts second line." for i in range(500))
    server.files["big.txt.xz"] = lzma.compress(lines.encode())
    stream = RECORD | {
        "kind": "url",
        "stream": True,
        "source": server.url("big.txt.xz"),
        "mirrors": [],
        "revision": '"v1"',
    }
    stream["bytes"] = len(server.files["big.txt.xz"])
    records = corpora | {"big": stream}
    sources = plan()["sources"] | {"big": domain("big")}
    card = Preparation(plan(sources=sources, training={"sources": ["big"], "tokens": 100}), PATHS, records).run()
    rows = read_jsonl(PATHS.training_text / "text-00000.jsonl")
    assert [row["text"] for row in rows] == lines.split("\n\n")[: len(rows)] and 100 <= len(rows) * 7 < 107
    assert card["sources"]["big"]["counts"]["training_documents"] == len(rows)


def test_training_text_excludes_held_out_documents_of_other_sources(corpora, server):
    """A streamed corpus that contains the prompts' documents: they are duplicates there."""
    text = (PATHS.asset("made-a") / "text.txt").read_bytes()
    server.files["big.txt.xz"] = lzma.compress(text + b"\n\nOne document that is new.")
    stream = RECORD | {
        "kind": "url",
        "stream": True,
        "source": server.url("big.txt.xz"),
        "mirrors": [],
        "revision": '"v1"',
    }
    stream["bytes"] = len(server.files["big.txt.xz"])
    sources = plan()["sources"] | {"big": domain("big")}
    prepared = plan(sources=sources, training={"sources": ["big"], "tokens": 10**6})
    card = Preparation(prepared, PATHS, corpora | {"big": stream}).run()
    assert card["sources"]["big"]["counts"] == {
        "read": 121,
        "duplicates": 120,
        "training_documents": 1,
        "training_words": 5,
    }


def test_an_asset_that_was_not_fetched_is_named(corpora):
    with pytest.raises(ValueError, match="does not have the asset 'made-b'; run `dvc repro fetch`"):
        Preparation(plan(), PATHS, {"made-a": RECORD}).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": 200}, "domains.made-a: 120 documents have at least prepare.min_words = 20 .*prompts = 200"),
        ({"benchmark_items": {"last-word": 5000, "continuation": 4}}, "last-word: 5000 items were asked for"),
        ({"prompts": 111, "tasks": [], "benchmark_validation_items": {}}, "leave no document for training"),
    ],
)
def test_faults(corpora, changes, message):
    with pytest.raises(ValueError, match=message):
        Preparation(plan() | changes, PATHS, corpora).run()
