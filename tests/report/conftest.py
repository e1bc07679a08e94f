"""A small made-up run in the formats that ``experiment.paths.Paths`` names: what the tests of the report render."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from autocontrastive_gen.evaluation.benchmarks import ITEM_COLUMNS
from autocontrastive_gen.evaluation.metrics import HUMAN
from autocontrastive_gen.evaluation.metrics.ngrams import COUNTS, ORDERS
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.settings import Grid
from autocontrastive_gen.foundation.files import write_csv, write_json, write_jsonl
from autocontrastive_gen.report.render import write_report
from autocontrastive_gen.report.results import Results

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = 20
GAINS = {
    "greedy": 0.0,
    "greedy-acd": 0.25,
    "greedy-acd4": 0.0,
    "greedy-dola": 0.1,
    "greedy-sled": 0.02,
    "repetition-penalty": 0.28,
    "contrastive-search": 0.15,
    "beam": 0.0,
    "beam-acd": 0.25,
    "top-p": 0.3,
    "top-p-acd": 0.3,
}
"""What each setting adds to the diversity of plain greedy search."""
SETTINGS = list(GAINS)
ABILITIES = {"original": 0.4, "exit4": 0.2, "acd": 0.55, "acd4": 0.9, "dola": 0.42, "sled": 0.4}
"""Share of the benchmark's items that each setting gets right, about."""
BENCHMARKS = list(ABILITIES)
PENALTIES = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
WORDS = "the river of old stones ran <b>north</b> & then a bird sang of rain upon hills while people slept".split()
SECRET = "Zanzibar"
"""Stands in every text of the domain whose asset states no licence: must never be shown."""
VOCABULARY = {word: i for i, word in enumerate(dict.fromkeys([*WORDS, SECRET, "fair", "?"]))}

PLAN = {
    "title": "A made run",
    "banner": "Made numbers, to test the report.",
    "examples": 3,
    "paper": None,
    "edited": ["generate.new_tokens: 24 (profile: 100)", "train.epochs: 2 (profile: 1)"],
    "seed": 7,
    "bootstrap": {"samples": 200, "level": 0.95},
    "coherence_asset": "encoder",
    "mauve_asset": None,
    "contrasts": {
        "acd": {"method": "acd", "alpha": 0.1, "minimum_candidates": 1, "temperature": 1.0},
        "dola": {"method": "dola", "layers": "all", "alpha": 0.1, "variant": "paper", "outside": None},
        "sled": {"method": "sled", "layers": "all", "evolution_rate": 2.0, "evolution_scale": 10},
    },
    "decoders": {
        "greedy": {"method": "greedy", **PENALTIES},
        "repetition-penalty": {"method": "greedy", **PENALTIES, "repetition_penalty": 1.2},
        "contrastive-search": {"method": "contrastive-search", **PENALTIES, "top_k": 4, "penalty_alpha": 0.6},
        "beam": {"method": "beam", **PENALTIES, "num_beams": 4},
        "top-p": {"method": "top-p", **PENALTIES, "temperature": 1.0, "top_p": 0.95},
    },
    "train": {"method": "distillation", "tokens": 80000, "learning_rate": 0.001, "epochs": 1},
    "generate": {"new_tokens": 24, "batch_size": 4},
    "benchmark": {"batch_size": 4, "limit": None, "num_fewshot": 0},
    "select": {"new_tokens": 24, "coherence_margin": 0.02},
    "analyse": {"training_budgets": 0, "answers": []},
    "models": {
        "made": {
            "asset": "made-model",
            "dtype": "float32",
            "mode": "SHARED_PROJECTION_CAST_OUTPUTS",
            "exits": [4, 6],
            "upper": "original",
            "lower": "auto",
            "note": "random weights",
        }
    },
    "domains": {
        "open": {"asset": "open-text", "title": "Open", "prompt_at": "paragraph"},
        "closed": {"asset": "closed-text", "title": "Closed", "prompt_at": "document"},
    },
    "settings": SETTINGS,
    "benchmark_settings": BENCHMARKS,
    "tasks": ["last-word"],
}


def write_run(profile: str = "golden", plan: dict = PLAN) -> Paths:
    """Write the run under the working directory."""
    paths = Paths(profile)
    write_json(paths.plan, {"report": plan})
    licences = {"open-text": "CC-BY-SA-3.0", "closed-text": "not stated", "made-model": "Apache-2.0", "encoder": "MIT"}
    records = {
        name: {"kind": "path", "source": f"made/{name}", "revision": None, "sha256": "0" * 64, "licence": licence}
        for name, licence in licences.items()
    }
    write_json(paths.assets, {name: {**record, "note": "", "files": {}} for name, record in records.items()})
    write_json(paths.asset("made-model") / "config.json", {"num_hidden_layers": 8})
    Tokenizer(WordLevel(VOCABULARY, unk_token="?")).save(str(paths.asset("made-model") / "tokenizer.json"))
    formats = {"open": "txt", "closed": "txt", "stories": "coqa"}
    write_json(paths.data_card, {"sources": {name: {"format": kind} for name, kind in formats.items()}, "seed": 7})
    rng = np.random.default_rng(5)
    for model in plan["models"]:
        _train(paths, model)
        _texts(paths, model, plan, rng)
        _scores(paths, model, plan, rng)
        _benchmarks(paths, model, plan, rng)
    for name in Results(paths, plan).cells:
        cost = {"wall_s": 2.5, "cpu_s": 4.0, "peak_rss_bytes": 3 * 2**29, "cores": 2, "device": "cpu"}
        tokens = {"tokens": 480 if "contrastive-search" in name else 960} if name.startswith("generate") else {}
        write_json(paths.cost("fetch").parent / f"{name}.json", cost | tokens)
    return paths


def _train(paths: Paths, model: str) -> None:
    perplexity = {"original": 20.0, "4": 300.0, "6": 60.0}
    errors = {"nll_error": 0.1, "agreement_error": 0.02}
    quality = {
        domain: {
            layer: {"perplexity": value * factor, "agreement": 20 / value, "entropy": 3.0, "tokens": 1000, **errors}
            for layer, value in perplexity.items()
        }
        for domain, factor in (("open", 1.0), ("closed", 1.5))
    }
    write_json(paths.exit_quality(model), quality)
    candidates = [
        {"lower": 4, "diversity": 0.40, "coherence": 0.46, "coherence_error": 0.012},
        {"lower": 6, "diversity": 0.70, "coherence": 0.44, "coherence_error": 0.021},
    ]
    selection = {
        "rule": "most diverse",
        "upper": "original",
        "chosen": {"lower": 6, "parameters": {}},
        "plain": {"diversity": 0.25, "coherence": 0.45},
        "candidates": [each | {"parameters": {}} for each in candidates],
    }
    write_json(paths.selection(model), {"acd": selection})
    curve = [
        {"step": s, "tokens": 100 * s, "layer": layer, "loss": 5 / s + layer / 10, "validation_perplexity": 400 / s}
        for s in (1, 2, 3)
        for layer in (4, 6)
    ]
    write_csv(paths.curves(model), ["step", "tokens", "layer", "loss", "validation_perplexity"], curve)
    grid = Grid.of(SETTINGS, BENCHMARKS, PLAN["decoders"], PLAN["contrasts"])
    for setting in (*grid.settings, *grid.benchmark_settings):
        lower = (setting.lower or 6) if setting.contrast == "acd" else None
        layers = [layer for layer in (setting.exit, lower) if layer]
        exits = {str(layer): "ab" * 32 for layer in layers}
        contrast = PLAN["contrasts"].get(setting.contrast)
        content = {"upper": setting.exit or "original", "lower": lower, "contrast": contrast, "exits": exits}
        write_json(paths.resolved(model, setting.name), content)


def _texts(paths: Paths, model: str, plan: dict, rng: np.random.Generator) -> None:
    for domain in plan["domains"]:
        secret = SECRET if domain == "closed" else "fair"
        ids = [f"{domain}-{i}" for i in range(DOCUMENTS)]
        prompts = {i: " ".join([*rng.choice(WORDS, 8), secret]) for i in ids}
        humans = [{"id": i, "prompt": prompts[i], "human": f"{' '.join(WORDS)} {secret}"} for i in ids]
        write_jsonl(paths.prompts(domain), humans)
        for name in plan["settings"]:
            rows = []
            for i in ids:
                words = [str(word) for word in [*rng.choice(WORDS, 10), secret]]
                said = {"upper": " the", "upper_p": 0.5, "lower": " of", "lower_p": 0.4, "token_p": [0.3, 0.1]}
                changed = [{"position": at, **said} for at in (2, 5)]
                changed = changed if "acd" in name else None
                row = {"id": i, "prompt": prompts[i], "continuation": " ".join(words), "nll": 2.0}
                rows.append({**row, "tokens": [VOCABULARY[word] for word in words], "changed": changed})
            write_jsonl(paths.texts(model, name, domain), rows)


def _scores(paths: Paths, model: str, plan: dict, rng: np.random.Generator) -> None:
    metrics: dict[str, dict] = {}
    rows = []
    base = rng.uniform(0.5, 0.7, DOCUMENTS)
    for name in [*plan["settings"], HUMAN]:
        gain = GAINS.get(name, 0.3)
        for domain in plan["domains"]:
            metrics.setdefault(name, {})[domain] = entry = {}
            coherence = rng.normal(0.45, 0.05, DOCUMENTS)
            for i in range(DOCUMENTS):
                row = {"setting": name, "domain": domain, "id": f"{domain}-{i}", "coherence": coherence[i]}
                row |= {"perplexity": 9.0 + i, "changed": 0.2 if "acd" in name else 0.0}
                for order in ORDERS:
                    row |= {f"unique_{order}": int(90 * min(1.0, base[i] + gain)), f"total_{order}": 90}
                rows.append(row)
            for metric, value in (("diversity", 0.3 + gain), ("coherence", coherence.mean()), ("perplexity", 18.5)):
                entry[metric] = {"value": value, "low": value - 0.05, "high": value + 0.05, "n": DOCUMENTS}
    write_json(paths.metrics(model), metrics)
    columns = ["setting", "domain", "id", "coherence", "perplexity", "changed", *COUNTS]
    write_csv(paths.per_prompt(model), columns, rows)
    write_json(paths.drafts(model), {"costs": {"4": 0.6, "6": 0.8}, "settings": _drafts()})


def _drafts() -> dict:
    """Two exits under two settings, none of which pays."""
    found: dict[str, dict] = {}
    for setting, a in (("greedy", 0.5), ("greedy-acd", 0.2)):
        for layer, more in (("4", 0.0), ("6", 0.2)):
            share = a + more
            per_pass = {str(k): (1 - share ** (k + 1)) / (1 - share) for k in range(1, 9)}
            agreement = {"value": share, "low": share - 0.05, "high": share + 0.05, "n": DOCUMENTS}
            found.setdefault(setting, {})[layer] = {"agreement": agreement, "tokens": 960, "per_pass": per_pass}
    return found


def _benchmarks(paths: Paths, model: str, plan: dict, rng: np.random.Generator) -> None:
    difficulty = rng.uniform(size=40)
    for name, ability in ABILITIES.items():
        right = (difficulty < ability).astype(int)
        results = {"acc": {"value": right.mean(), "stderr": 0.07, "n": 40}}
        likelihood = np.log(0.5) * (2 + difficulty - ability)
        results["perplexity"] = {"value": np.exp(-likelihood.mean()), "stderr": 4.0, "n": 40}
        write_json(paths.results(model, name), {"last-word": results})
        names = [{"task": "last-word", "id": str(i), "document": f"stories-{i // 2}"} for i in range(40)]
        items = [{**name, "metric": "acc", "value": int(v)} for name, v in zip(names, right, strict=True)]
        rows = [{**item, "metric": "perplexity", "value": likelihood[i]} for i, item in enumerate(items)]
        write_csv(paths.items(model, name), list(ITEM_COLUMNS), items + rows)


@pytest.fixture
def made_run(tmp_path, monkeypatch) -> Paths:
    """Paths of a made run in an empty project folder, which is the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf/paper", "conf/paper")
    return write_run()


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """Folder of the rendered report of a made run, which several tests only read."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(ROOT / "conf/paper", folder / "conf/paper")
    with contextlib.chdir(folder):
        paths = write_run()
        write_report(paths, PLAN)
    return folder / paths.reports


@pytest.fixture
def results(made_run) -> Results:
    return Results(made_run, PLAN)
