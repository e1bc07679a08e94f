"""The paper profiles, complete, on models of the same depth but width 16: only sizes and sources are replaced."""

import functools
import http.server
import json
import threading

import pytest
import yaml
from paper_hub import Cache, benchmarks

from tests.pipeline.warm import Warm

SETTINGS = {
    "settings": ["greedy", "greedy-acd", "beam-acd", "greedy-exit12-acd6"],
    "benchmark_settings": ["original", "acd"],
}
"""One of each kind: the others differ in the names of layers and ways of decoding, and are listed by test_profiles."""
SIZES = {
    "prepare": {"prompts": 3, "validation_prompts": 2, "validation_documents": 3},
    "train": {"block_size": 64, "batch_size": 4, "epochs": 1, "evaluate_every": 5, "validation_tokens": 128},
    "generate": {"new_tokens": 8},
    "score": {"bootstrap": {"samples": 100, "level": 0.95}},
    "benchmark": {"limit": 2},
    "report": {"examples": 2},
}


@pytest.fixture
def server(tmp_path):
    """A web server on loopback that gives the files of ``tmp_path / "served"``."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("name", "model", "halfway"),
    [
        ("paper", "gpt2-medium", 12),
        ("paper-released", "gpt-neo-125m", 6),
        pytest.param("paper", "gpt-neo-125m", 6, marks=pytest.mark.exhaustive),
        pytest.param("paper-released", "gpt2-medium", 12, marks=pytest.mark.exhaustive),
    ],
)
def test_the_profile_runs_end_to_end(root, fresh, server, tmp_path, name, model, halfway):
    folder, address = server
    fresh.run("python", "-m", "stages.profile", "use", name)
    params = yaml.safe_load((fresh.folder / "params.yaml").read_text())
    cache = Cache(tmp_path / "home", root / "tests/fixtures/smoke")
    cache.all(params)
    (folder / "en.txt.xz").write_bytes(cache.corpus())
    benchmarks(tmp_path / "tasks")
    if "cc100" in params["assets"]:
        params["assets"]["cc100"] |= {"kind": "url", "url": f"{address}/en.txt.xz"}
    params["assets"]["tasks"] = {"kind": "path", "path": str(tmp_path / "tasks"), "licence": "made up"}
    params["prepare"]["bundle"] = "tasks"
    params["prepare"]["training"]["tokens"] = 3000
    assert model in params["run"]["models"]
    params["run"] |= SETTINGS | {"models": [model]}
    for section, sizes in SIZES.items():
        params[section] |= sizes
    (fresh.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    fresh.environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    fresh.environment["PATH"] = f"{tmp_path / 'warm'}:{fresh.environment['PATH']}"
    with Warm(tmp_path / "warm", fresh.environment):
        ran = fresh.repro()
        assert fresh.repro() == []
    assert len(ran) == 4 + 4 + 4 + 2
    metrics = json.loads((fresh.folder / f"reports/{name}/metrics.json").read_text())
    assert {f"quality/{model}/greedy-acd/{domain}/diversity" for domain in params["run"]["domains"]} <= set(metrics)
    scored = {key.split("/")[3] for key in metrics if key.startswith(f"benchmark/{model}/acd/")}
    assert set(params["run"]["tasks"]) <= scored
    chosen = json.loads((fresh.folder / f"runs/{name}/select/{model}/settings/greedy-acd.json").read_text())
    assert chosen["lower"] == halfway and chosen["upper"] == "original"
    assets = json.loads((fresh.folder / f"runs/{name}/fetch/assets.json").read_text())
    assert len(assets[params["models"][model]["asset"]]["revision"]) == 40, "a commit"
