"""Benchmark tasks made from text, as lm-eval reads and scores them."""

from collections import Counter
from pathlib import Path

import pytest

from autocontrastive_gen.data import local_tasks
from autocontrastive_gen.data.selection import Document

SMOKE = Path(__file__).parents[1] / "fixtures" / "smoke"


@pytest.fixture(scope="module")
def documents():
    texts = (SMOKE / "text" / "made-b.txt").read_text(encoding="utf-8").strip().split("\n\n")
    return [Document.of(text) for text in texts[:40]]


def all_items(task, documents, seed=1):
    return [item for items in local_tasks.TASKS[task].make("made-b", documents, seed) for item in items]


def test_last_words_continue_their_document(documents):
    items = all_items("last-word", documents)
    assert len(items) > 10
    texts = {document.digest[:12]: " ".join(document.text.split()) for document in documents}
    for item in items:
        assert item["id"].rpartition("-")[0] == item["document"]
        assert f"{item['context']} {item['target']}" in texts[item["document"].rpartition("-")[2]]
    by_document = Counter(item["document"] for item in items)
    for document in documents:
        most = max(1, document.words // local_tasks.WORDS_PER_ITEM)
        assert by_document[f"made-b-{document.digest[:12]}"] <= min(local_tasks.MOST_ITEMS, most)


def test_true_continuations_follow_and_wrong_ones_come_from_other_documents(documents):
    items = all_items("continuation", documents)
    texts = {document.digest[:12]: " ".join(document.text.split()) for document in documents}
    labels = [item["label"] for item in items]
    assert len(items) > 10 and set(labels) == {0, 1, 2, 3}
    for item in items:
        own = texts[item["id"].split("-")[2]]
        assert f"{item['context']} {item['choices'][item['label']]}" in own
        wrong = [choice for i, choice in enumerate(item["choices"]) if i != item["label"]]
        assert len({*item["choices"]}) == 4 and not any(choice in own for choice in wrong)


def test_items_depend_on_the_seed_alone(documents):
    for task in local_tasks.TASKS:
        assert all_items(task, documents) == all_items(task, documents)
    assert all_items("continuation", documents) != all_items("continuation", documents, seed=2)


def test_take_spreads_over_domains_and_documents():
    items = {
        "a": [[{"id": f"a{i}-{j}"} for j in range(3)] for i in range(4)],
        "b": [[{"id": "b0-0"}], [{"id": "b1-0"}]],
    }
    spread = ["a0-0", "a1-0", "a2-0", "a3-0", "b0-0", "b1-0"]
    assert [item["id"] for item in local_tasks.take(items, 6, "key")] == spread
    with pytest.raises(ValueError, match="key: 15 items were asked for, but .* gives 14"):
        local_tasks.take(items, 15, "key")


@pytest.fixture(scope="module")
def results(documents, tmp_path_factory):
    """lm-eval's results on both tasks, read from files, under a model whose likelihoods are known."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Shorter(LM):
        """The shorter a continuation, the likelier; one of five letters is the greedy choice."""

        def loglikelihood(self, requests, **kwargs):
            return [(-float(len(request.args[1])), len(request.args[1]) == 6) for request in requests]

        def loglikelihood_rolling(self, requests, **kwargs):
            raise NotImplementedError

        def generate_until(self, requests, **kwargs):
            raise NotImplementedError

    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("project"))
    patch.setenv("HF_DATASETS_CACHE", "cache")
    rows = {task: all_items(task, documents)[:12] for task in local_tasks.TASKS}
    for task in rows:
        local_tasks.write_task(Path("runs/tasks"), task, rows[task])
    manager = TaskManager(include_path="runs/tasks", include_defaults=False)
    evaluated = simple_evaluate(model=Shorter(), tasks=list(rows), task_manager=manager, bootstrap_iters=0)
    patch.undo()
    return rows, evaluated


def test_lm_eval_scores_last_words(results):
    rows, evaluated = results
    scores = evaluated["results"]["last-word"]
    expected = sum(len(row["target"]) == 5 for row in rows["last-word"]) / 12
    assert scores["acc,none"] == pytest.approx(expected)
    sample = evaluated["samples"]["last-word"][0]
    row = next(row for row in rows["last-word"] if row["id"] == sample["doc"]["id"])
    assert sample["arguments"][0] == (row["context"], " " + row["target"])


def test_lm_eval_scores_continuations(results):
    rows, evaluated = results
    shortest = [min(row["choices"], key=len) == row["choices"][row["label"]] for row in rows["continuation"]]
    assert evaluated["results"]["continuation"]["acc,none"] == pytest.approx(sum(shortest) / 12)
    assert "acc_norm,none" in evaluated["results"]["continuation"]
