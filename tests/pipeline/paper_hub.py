"""The paper's models and data in small, as the hub's cache has them: made text, random weights, the same layout."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import re
from pathlib import Path

from tests.fixtures.make_smoke import EVENTS, document

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""Of the smoke model: a byte-level BPE as GPT-2's is, in small."""
COMMIT = re.compile("[0-9a-f]{40}")
EXITS = {"gpt2-medium": list(range(24, 0, -2)), "gpt-neo-125m": list(range(12, 0, -2))}
"""As the released checkpoints list them: descending."""


class Cache:
    """A cache of the hub's files: ``models--owner--name/snapshots/<commit>/...`` with its ``refs``."""

    def __init__(self, home: Path, fixtures: Path) -> None:
        self.home, self.fixtures = home, fixtures
        self.rng = random.Random(0)

    def snapshot(self, kind: str, repo: str, revision: str) -> Path:
        commit = revision if COMMIT.fullmatch(revision) else hashlib.sha1(f"{repo}@{revision}".encode()).hexdigest()
        root = self.home / "hub" / f"{kind}s--{repo.replace('/', '--')}"
        reference = root / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
        folder = root / "snapshots" / commit
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def texts(self, number: int) -> list[str]:
        return [document(EVENTS, self.rng).replace("\n", " ") for _ in range(number)]

    def all(self, params: dict) -> None:
        """Every hub asset of the parameters."""
        for name, asset in params["assets"].items():
            if asset["kind"] != "hub":
                continue
            kind = asset.get("repo_type", "model")
            folder = self.snapshot(kind, asset["repo"], asset["revision"])
            if kind == "dataset":
                self.parquet(folder / asset["files"][0].replace("*", "en-0"))
            elif name == "simcse":
                self.encoder(folder)
            else:
                self.language_model(folder, name)

    def parquet(self, path: Path) -> None:
        from datasets import Dataset

        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list([{"text": text} for text in self.texts(40)]).to_parquet(str(path))

    def language_model(self, folder: Path, name: str) -> None:
        """GPT-2 medium or GPT-Neo 125M, as deep as they are and 16 wide; with exits in the released form of 2023."""
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM

        size, sizes = 512, {"vocab_size": 512, "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0}
        torch.manual_seed(0)
        if name.startswith("gpt2"):
            model = GPT2LMHeadModel(GPT2Config(n_layer=24, n_embd=16, n_head=2, n_positions=size, **sizes))
        else:
            kinds = [[["global", "local"], 6]]
            shape = {"num_layers": 12, "hidden_size": 16, "num_heads": 2, "attention_types": kinds}
            model = GPTNeoForCausalLM(GPTNeoConfig(max_position_embeddings=size, **shape, **sizes))
        model.save_pretrained(folder)
        for file in TOKENIZER:
            (folder / file).write_bytes((self.fixtures / "model" / file).read_bytes())
        if name.endswith("-multiexit"):
            layers = EXITS[name.removesuffix("-multiexit")]
            weights = model.state_dict()
            for layer in layers:
                weights[f"name_to_lm_exit_head.lm_head_{layer}.weight"] = torch.randn(512, 16)
            torch.save(weights, folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
            config = json.loads((folder / "config.json").read_text())
            released = {"gpt2": "MultiHeadGPT2", "gpt_neo": "MultiHeadGPTNeo"}[config["model_type"]]
            config |= {"architectures": [released], "lm_head_layer_indices": layers, "output_hidden_states": True}
            (folder / "config.json").write_text(json.dumps(config))

    def encoder(self, folder: Path) -> None:
        """A plain BERT with its word pieces and a pickled state, as SimCSE's repository is."""
        import torch
        from transformers import BertConfig, BertModel

        words = sorted({word.strip(".,").lower() for text in self.texts(40) for word in text.split()})
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
        torch.manual_seed(1)
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        model = BertModel(BertConfig(vocab_size=len(pieces), initializer_range=0.2, **shape))
        model.config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')

    def corpus(self) -> bytes:
        """CC-100's format: paragraphs on lines, documents apart by an empty line, compressed by xz."""
        return lzma.compress("\n\n".join(self.texts(60)).encode())


def benchmarks(folder: Path, items: int = 2) -> None:
    """The publishers' files of every task of the paper profiles, with made-up items."""
    from lm_eval import tasks

    rows = {
        "lambada_openai/lambada_test.jsonl": [{"text": "The bell rang and Ada ran to the old bell"}],
        "hellaswag/hellaswag_val.jsonl": [
            {"ind": 0, "activity_label": "Mending", "ctx_a": "A man opens a clock.", "ctx_b": "he", "label": 1}
            | {"ctx": "A man opens a clock. he", "endings": ["turns it", "eats it", "paints it", "sings to it"]}
        ],
        "piqa/valid.jsonl": [{"goal": "Open a jar", "sol1": "turn the lid", "sol2": "break all of it", "label": 0}],
        "winogrande/dev.jsonl": [
            {"sentence": "The bell left the box as _ was too big.", "option1": "the bell", "option2": "the box"}
            | {"answer": "1"}
        ],
        "truthfulqa_mc1/mc_task.json": [
            {"question": "How many moons are there?"}
            | {f"mc{n}_targets": {"One.": 1, "Two hundred.": 0} for n in (1, 2)}
        ],
    }
    choices = {"text": ["wood", "iron"], "label": ["A", "B"]}
    for task, name in (("arc_easy", "ARC-Easy-Test"), ("arc_challenge", "ARC-Challenge-Test")):
        rows[f"{task}/{name}.jsonl"] = [
            {"id": "item", "question": "Which of these is metal?", "choices": choices, "answerKey": "B"}
        ]
    for definition in (Path(tasks.__file__).parent / "blimp").glob("*.yaml"):
        paradigm = next(
            (line for line in definition.read_text().splitlines() if line.startswith("dataset_name:")), None
        )
        if paradigm:
            pair = {"sentence_good": "Who ran?", "sentence_bad": "Who did the man that ran?"}
            rows[f"blimp/{paradigm.partition(':')[2].strip()}.jsonl"] = [pair]
    for name, content in rows.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        repeated = [row | ({"id": f"item-{i}"} if "id" in row else {}) for row in content for i in range(items)]
        if path.suffix == ".json":
            path.write_text(json.dumps(repeated))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in repeated))
