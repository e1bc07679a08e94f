"""Bundles score exactly as lm-eval's own tasks do, from the hub's rows or from publishers' files."""

import csv
import json
import math
from pathlib import Path

import pytest

from autocontrastive_gen.data import bundles

pytest.importorskip("lm_eval")

TASKS = [
    "lambada_openai",
    "lambada_standard",
    "hellaswag",
    "piqa",
    "winogrande",
    "arc_easy",
    "arc_challenge",
    "truthfulqa_mc1",
    "truthfulqa_mc2",
    "truthfulqa_gen",
    "blimp_adjunct_island",
    "blimp_causative",
    "bigbench_social_iqa_multiple_choice",
    "bigbench_strategyqa_multiple_choice",
]

# Made-up items, in the form of the hub's data sets ------------------------------------------------------------------

LAMBADA = ["The bell rang and Ada ran to the old bell", 'He said "Go", and then nobody wanted to go']
LOWER = ["the bell rang , and ada ran to the old bell", "`` go '' , he said , and nobody wanted to go"]
HELLASWAG = [
    {
        "ind": i,
        "activity_label": "Mending a clock",
        "ctx_a": "A man opens [substeps] a clock.",
        "ctx_b": "he",
        "ctx": "A man opens a clock. he",
        "endings": [f"{word} the wheel [title] slowly." for word in ("turns", "eats", "paints", "sings to")],
        "label": str(i % 4),
    }
    for i in range(5)
]
PIQA = [{"goal": f"Open jar {i}", "sol1": "turn the lid", "sol2": "break all of it", "label": i % 2} for i in range(4)]
WINOGRANDE = [
    {
        "sentence": f"The bell did not fit into box {i} because _ was too big.",
        "option1": "the bell",
        "option2": "it all",
    }
    | {"answer": str(1 + i % 2)}
    for i in range(4)
]
ARC = [
    {
        "id": f"item-{i}",
        "question": f"Which of these is metal {i}?",
        "choices": {"text": ["wood", "iron", "wool and hair"][: 2 + i % 2], "label": ["A", "B", "C"][: 2 + i % 2]},
        "answerKey": "B",
    }
    for i in range(4)
]
TRUTHFUL_CHOICES = [
    {
        "question": f"How many moons are there, {i}?",
        "mc1_targets": {"choices": ["One.", "Two hundred.", "None."], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["One.", "There is one.", "Two hundred."], "labels": [1, 1, 0]},
    }
    for i in range(3)
]
TRUTHFUL_ANSWERS = [
    {
        "type": "Adversarial",
        "category": "Moons",
        "question": f"How many moons are there, {i}?",
        "best_answer": "There is one moon",
        "correct_answers": ["One", "There is one moon"],
        "incorrect_answers": ["Two", "None at all"],
        "source": "made",
    }
    for i in range(2)
]
BLIMP = [{"sentence_good": f"Who ran {i}?", "sentence_bad": f"Who did the man that ran {i}?"} for i in range(3)]
BIGBENCH_CHOICES = [  # what bigbench 1.0.0's own code makes of the examples below
    {
        "idx": 0,
        "inputs": "Q: Why did Ada ring the bell? \n  choice:  It fell \n  choice: To call the boats"
        "\n  choice: To wake the town\nA:",
        "targets": ["To call the boats"],
        "multiple_choice_targets": ["To wake the town", "To call the boats", "It fell"],
        "multiple_choice_scores": [0, 1, 0],
    },
    {
        "idx": 1,
        "inputs": "Q: Where is the clock?\n  choice: In the sea\n  choice: In the tower\n  choice: On a boat\nA:",
        "targets": ["In the tower"],
        "multiple_choice_targets": ["In the tower", "In the sea", "On a boat"],
        "multiple_choice_scores": [1, 0, 0],
    },
]
BIGBENCH_ANSWERS = [
    {
        "idx": i,
        "inputs": f"Answer yes or no.\nQuestion: Is bell {i} old? Answer:",
        "targets": ["Yes. It was cast in 1764."],
        "multiple_choice_targets": ["Yes", "No"],
        "multiple_choice_scores": scores,
    }
    for i, scores in enumerate(([1, 0], [0, 1]))
]

HUB = {
    ("EleutherAI/lambada_openai", "default"): {"test": [{"text": text} for text in LAMBADA]},
    ("cimec/lambada", None): {"test": [{"text": text} for text in LOWER], "validation": [{"text": LOWER[0]}]},
    ("Rowan/hellaswag", None): {"train": HELLASWAG[:2], "validation": HELLASWAG},
    ("baber/piqa", None): {"train": PIQA[:2], "validation": PIQA},
    ("allenai/winogrande", "winogrande_xl"): {"train": WINOGRANDE[:2], "validation": WINOGRANDE},
    ("allenai/ai2_arc", "ARC-Easy"): {"train": ARC[:2], "validation": ARC[:1], "test": ARC},
    ("allenai/ai2_arc", "ARC-Challenge"): {"train": ARC[:2], "validation": ARC[:1], "test": ARC[::-1]},
    ("truthfulqa/truthful_qa", "multiple_choice"): {"validation": TRUTHFUL_CHOICES},
    ("truthfulqa/truthful_qa", "generation"): {"validation": TRUTHFUL_ANSWERS},
    ("nyu-mll/blimp", "adjunct_island"): {"train": BLIMP},
    ("nyu-mll/blimp", "causative"): {"train": BLIMP[::-1]},
    ("hails/bigbench", "social_iqa_zero_shot"): {"default": BIGBENCH_CHOICES, "train": BIGBENCH_CHOICES[:1]},
    ("hails/bigbench", "strategyqa_zero_shot"): {"default": BIGBENCH_ANSWERS, "train": BIGBENCH_ANSWERS[:1]},
}


@pytest.fixture
def hub(project, monkeypatch):
    """A hub that holds the made-up items and records what is requested from it."""
    import datasets
    import huggingface_hub

    asked = []

    def load_dataset(path, name=None, **kwargs):
        if path == "parquet":
            return real(path, **kwargs)
        asked.append((path, name, kwargs.get("revision")))
        rows = HUB[path, name]
        return datasets.DatasetDict({split: datasets.Dataset.from_list(items) for split, items in rows.items()})

    class Api:
        def dataset_info(self, dataset):
            return huggingface_hub.DatasetInfo(id=dataset, sha="c" * 40, tags=[], cardData={"license": "mit"})

    real = datasets.load_dataset
    monkeypatch.setenv("HF_DATASETS_CACHE", str(project / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", project / "cache")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    bundles._on_hub.cache_clear()
    yield asked
    bundles._on_hub.cache_clear()


# The same items as their publishers' files --------------------------------------------------------------------------


def write_originals(folder: Path) -> None:
    def lines(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    lines(folder / "lambada_openai" / "lambada_test.jsonl", HUB["EleutherAI/lambada_openai", "default"]["test"])
    (folder / "lambada_standard").mkdir(parents=True)
    (folder / "lambada_standard" / "lambada_test_plain_text.txt").write_text("\n".join(LOWER) + "\n")
    originals = [row | {"label": int(row["label"]), "source_id": "x", "split": "val"} for row in HELLASWAG]
    lines(folder / "hellaswag" / "hellaswag_val.jsonl", originals)
    lines(folder / "hellaswag" / "hellaswag_train.jsonl", originals[:2])
    for name, rows in (("valid", PIQA), ("train", PIQA[:2])):
        lines(folder / "piqa" / f"{name}.jsonl", [{key: row[key] for key in ("goal", "sol1", "sol2")} for row in rows])
        (folder / "piqa" / f"{name}-labels.lst").write_text("".join(f"{row['label']}\n" for row in rows))
    lines(folder / "winogrande" / "dev.jsonl", [row | {"qID": "x"} for row in WINOGRANDE])
    lines(folder / "winogrande" / "train_xl.jsonl", WINOGRANDE[:2])
    for task, name, rows in (("arc_easy", "Easy", ARC), ("arc_challenge", "Challenge", ARC[::-1])):
        for split, part in (("Test", rows), ("Train", ARC[:2]), ("Dev", ARC[:1])):
            lines(folder / task / f"ARC-{name}-{split}.jsonl", map(original_arc, part))
    choices = [
        {"question": row["question"]}
        | {
            key: dict(zip(row[key]["choices"], row[key]["labels"], strict=True))
            for key in ("mc1_targets", "mc2_targets")
        }
        for row in TRUTHFUL_CHOICES
    ]
    for task in ("truthfulqa_mc1", "truthfulqa_mc2"):
        (folder / task).mkdir()
        (folder / task / "mc_task.json").write_text(json.dumps(choices))
    (folder / "truthfulqa_gen").mkdir()
    with open(folder / "truthfulqa_gen" / "TruthfulQA.csv", "w", newline="") as file:
        columns = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in TRUTHFUL_ANSWERS:
            values = [row[column.lower().replace(" ", "_")] for column in columns]
            writer.writerow(["; ".join(value) if isinstance(value, list) else value for value in values])
    lines(folder / "blimp" / "adjunct_island.jsonl", [row | {"UID": "adjunct_island"} for row in BLIMP])
    lines(folder / "blimp_causative" / "causative.jsonl", BLIMP[::-1])
    example = {
        "input": "Why did Ada ring the bell? ",
        "target_scores": {"To wake the town": 0, "To call the boats": 1, " It fell ": 0},
    }
    where = {"input": "Where is the clock?", "target_scores": {"In the tower": 1, "In the sea": 0, "On a boat": 0}}
    lines(folder / "social_iqa" / "task.json", [{"canary": "NEVER TRAIN", "examples": [example, where, example]}])
    task = {
        "task_prefix": "Answer yes or no.",
        "example_input_prefix": "\nQuestion: ",
        "example_output_prefix": " Answer: ",
        "append_choices_to_input": False,
        "examples": [
            {
                "input": f"Is bell {i} old?",
                "target_scores": dict(zip(("Yes", "No"), scores, strict=True)),
                "target": "Yes. It was cast in 1764.",
            }
            for i, scores in enumerate(([1, 0], [0, 1]))
        ],
    }
    lines(folder / "strategyqa" / "task.json", [task])


def original_arc(row):
    choices = zip(row["choices"]["text"], row["choices"]["label"], strict=True)
    question = {"stem": row["question"], "choices": [{"text": text, "label": label} for text, label in choices]}
    return {"id": row["id"], "question": question, "answerKey": row["answerKey"]}


# What lm-eval makes of them -----------------------------------------------------------------------------------------


def evaluate(folders, tasks=TASKS):
    """({task: [(arguments of each request)]}, {task: metrics}) under a model with known likelihoods."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Known(LM):
        def loglikelihood(self, requests, **kwargs):
            scores = [-math.fsum(map(ord, "".join(r.args))) % 7 - len(r.args[1]) for r in requests]
            return [(score, score > -9) for score in scores]

        def loglikelihood_rolling(self, requests, **kwargs):
            raise NotImplementedError

        def generate_until(self, requests, **kwargs):
            return ["There is one moon."] * len(requests)

    manager = TaskManager(include_path=[str(folder) for folder in folders], include_defaults=False)
    output = simple_evaluate(model=Known(), tasks=list(tasks), task_manager=manager, bootstrap_iters=0, num_fewshot=0)
    requests = {
        task: [tuple(map(str, arguments)) for sample in samples for arguments in sample["arguments"]]
        for task, samples in output["samples"].items()
    }
    metrics = {
        task: {key: value for key, value in output["results"][task].items() if "stderr" not in key} for task in requests
    }
    return requests, metrics


@pytest.fixture
def own(hub):
    """lm-eval's own tasks on the hub's rows."""
    root = bundles.tasks_folder()
    names = ("lambada", "hellaswag", "piqa", "winogrande", "arc", "truthfulqa", "blimp", "bigbench")
    return evaluate([root / name for name in names])


def test_bundles_give_the_same_requests_and_metrics(own, hub, project):
    write_originals(project / "files")
    bundles.collect(TASKS, Path("from-hub"))
    asked = len(hub)
    bundles.collect(TASKS, Path("from-files"), Path("files"))
    bundles.collect(TASKS, Path("from-bundle"), Path("from-hub"))
    assert len(hub) == asked, "publishers' files and bundles need no hub"
    for name in ("from-hub", "from-files", "from-bundle"):
        bundles.install(Path(name), Path("runs") / name)
        requests, metrics = evaluate([Path("runs") / name])
        assert requests == own[0], name
        assert metrics == own[1], name
    assert len(hub) == asked
    assert own[1]["lambada_openai"] != own[1]["lambada_standard"]


def test_truthfulqa_of_bigbench(hub, project):
    """questions.json gives the rows that the hub's form of the same questions has."""
    rows = [
        {
            "question": f"How many moons are there, {i}?",
            "mc1_targets": {"choices": ["There is one.", "Two.", "None."], "labels": [1, 0, 0]},
            "mc2_targets": {"choices": ["One.", "There is one.", "Two.", "None."], "labels": [1, 1, 0, 0]},
        }
        for i in range(2)
    ]
    answers = {"True answers": ["One.", "There is one."], "False answers": ["Two.", "None."]}
    examples = [
        {"Question": row["question"], "Category": "Moons", "Best answer": "There is one."} | answers for row in rows
    ]
    path = project / "files" / "truthful_qa" / "questions.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"canary": "NEVER TRAIN", "prefix": "", "examples": examples}))
    tasks = ["truthfulqa_mc1", "truthfulqa_mc2"]
    bundles.collect(tasks, Path("bundle"), project / "files")
    bundles.install(Path("bundle"), Path("runs/tasks"))
    requests, metrics = evaluate([Path("runs/tasks")], tasks)
    assert not hub and metrics["truthfulqa_mc2"]["acc,none"] > 0
    for key, task in (("mc1_targets", "truthfulqa_mc1"), ("mc2_targets", "truthfulqa_mc2")):
        assert [request[1] for request in requests[task]] == [
            f" {choice}" for row in rows for choice in row[key]["choices"]
        ]
    assert all(request[0].endswith(f"Q: {rows[0]['question']}\nA:") for request in requests["truthfulqa_mc2"][:4])


def test_groups_are_whole_and_the_rest_is_recorded(hub, project):
    bundle = bundles.collect(["truthfulqa", "piqa"], Path("bundle"))
    assert set(bundle["tasks"]) == {"truthfulqa_mc1", "truthfulqa_mc2", "truthfulqa_gen", "piqa"}
    piqa = bundle["tasks"]["piqa"]
    assert (piqa["dataset"], piqa["revision"], piqa["licence"]) == ("baber/piqa", "c" * 40, "mit")
    assert piqa["splits"]["validation"]["rows"] == 4
    assert all(revision == "c" * 40 for _, _, revision in hub)
    bundles.install(Path("bundle"), Path("bundle"))
    assert str(project) not in "".join(path.read_text() for path in Path("bundle").glob("*.yaml"))


def test_a_group_keeps_its_members_and_its_mean(hub, project, monkeypatch):
    index = bundles._index("blimp")
    members = ["blimp_adjunct_island", "blimp_causative"]
    monkeypatch.setitem(index["blimp"].cfg, "task", members)
    assert set(bundles.collect(["blimp"], Path("bundle"))["groups"]) == {"blimp"}
    bundles.install(Path("bundle"), Path("runs/tasks"))
    requests, _ = evaluate([Path("runs/tasks")], ["blimp"])
    assert set(requests) == set(members)


def test_damage_is_named(hub, project):
    bundles.collect(["piqa"], Path("bundle"))
    file = Path("bundle/piqa.validation.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"piqa\.validation\.parquet has sha256 .* and not"):
        bundles.install(Path("bundle"), Path("runs/tasks"))
    file.unlink()
    with pytest.raises(OSError, match=r"piqa\.validation\.parquet is missing"):
        bundles.install(Path("bundle"), Path("runs/tasks"))


@pytest.mark.parametrize(
    ("task", "name", "content", "message"),
    [
        ("lambada_openai", "lambada_test.jsonl", json.dumps({"text": LOWER[0]}), "belongs to lambada_standard"),
        ("lambada_standard", "test.txt", LAMBADA[0], "belongs to lambada_openai"),
        ("piqa", "valid.jsonl", json.dumps({"goal": "g", "sol1": "a", "sol2": "b"}), "1 questions, but 0 labels"),
        ("hellaswag", "hellaswag_val.jsonl", json.dumps({"ctx": "x"}), "not in the original format .*'ind'"),
        ("hellaswag", "hellaswag_train.jsonl", json.dumps(HELLASWAG[0]), "scores its validation split"),
        ("winogrande", "dev.jsonl", "", "holds no item"),
        ("arc_easy", "ARC-Easy-Test.jsonl", "{", "JSONDecodeError"),
        ("bigbench_strategyqa_multiple_choice", "task.json", "{}", "not in the original format .* 'examples'"),
    ],
)
def test_unfit_files(hub, project, task, name, content, message):
    (project / "files" / task).mkdir(parents=True)
    (project / "files" / task / name).write_text(content)
    with pytest.raises((OSError, ValueError), match=message):
        bundles.collect([task], Path("bundle"), Path("files"))


def test_unknown_tasks_and_an_unreachable_hub(hub, project, monkeypatch):
    import datasets

    monkeypatch.setitem(bundles._INDICES, bundles.tasks_folder(), {})  # spares the index of 14,000 tasks
    with pytest.raises(ValueError, match="task 'lambada_opnai': not a task of lm-eval"):
        bundles.collect(["lambada_opnai"], Path("bundle"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(
        OSError, match=r"(?s)tasks piqa: .*baber/piqa.*no route.*tasks hellaswag.*--to bundle.*prepare\.bundle"
    ):
        bundles.collect(["piqa", "hellaswag"], Path("bundle"))
