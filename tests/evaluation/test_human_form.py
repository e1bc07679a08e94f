"""A human study through its real commands: export, a rater using a browser by keyboard, import."""

import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.foundation.files import read_json, write_csv, write_jsonl

ROOT = Path(__file__).parents[2]
PATHS = Paths("smoke")
DOMAINS = ("made-a", "made-b")


@pytest.fixture
def study(project, monkeypatch):
    """Texts of two settings and of humans for three prompts per domain; call it to run ``python -m stages.human``."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    write_plan(load_params())
    shutil.copytree(ROOT / "tests/fixtures/smoke/model", PATHS.asset("tiny"))
    for domain in DOMAINS:
        prompts = [
            {"id": f"{domain}-{i}", "prompt": f"Beginning {i}", "human": "the people sell " * 9} for i in range(3)
        ]
        write_jsonl(PATHS.prompts(domain), prompts)
        for setting in ("greedy", "greedy-acd"):
            rows = [{**row, "continuation": f" {setting[6:] or 'plain'} text", "tokens": [0] * 8} for row in prompts]
            write_jsonl(PATHS.texts("tiny", setting, domain), rows)

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "stages.human", *arguments], capture_output=True, text=True)

    return run


def test_export_and_import(study):
    done = study("export", "--model", "tiny", "--settings", "greedy-acd", "greedy", "--pairs", "3", "study")
    assert done.returncode == 0 and "6 pairs in study" in done.stdout, done.stderr
    key = read_json("study/key.json")
    assert {pair.rpartition("-")[0] for pair in key} == set(DOMAINS)
    for rater, winner in (("ann", "greedy-acd"), ("bob", "greedy")):
        votes = [
            {"pair": pair, "vote": "left" if sides["left_setting"] == winner else "right"}
            for pair, sides in key.items()
        ]
        write_csv(f"{rater}.csv", ["pair", "vote"], votes)
    done = study("import", "study", "ann.csv")
    assert "6 votes by 1 raters on 6 pairs" in done.stdout and "no pair has two raters" in done.stdout
    assert "greedy-acd               wins 100.0% (95 % interval 100.0% to 100.0%)" in done.stdout
    done = study("import", "study", "ann.csv", "bob.csv")
    assert "wins 50.0%" in done.stdout and "agreement: 0 %, alpha -0.83" in done.stdout
    summary = read_json("study/summary.json")
    assert (summary["votes"], summary["raters"], summary["agreement"]["percent"]) == (12, 2, 0)


@pytest.mark.slow
def test_human_texts_are_as_long_as_the_others(study):
    done = study("export", "--model", "tiny", "--settings", "greedy", "human", "--pairs", "3", "study")
    assert done.returncode == 0, done.stderr
    key, rows = read_json("study/key.json"), list(csv.DictReader(open("study/pairs.csv")))
    for row in rows:
        side = "left" if key[row["pair"]]["left_setting"] == "human" else "right"
        assert "the people sell the".startswith(row[side][:19]) and len(row[side].split()) < 27


@pytest.mark.parametrize("settings", [("greedy", "gredy"), ("greedy", "greedy")])
def test_settings_that_cannot_be_paired_are_refused(study, settings):
    done = study("export", "--model", "tiny", "--settings", *settings, "study")
    assert done.returncode == 2 and "two different settings out of greedy, greedy-acd, human" in done.stderr
    assert not Path("study").exists()


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    assert found, "CI must have Chromium: .ci/run installs it"
    return found


KEYS = {"Tab": ("\t", 9), " ": (" ", 32), "Enter": ("\r", 13), "ArrowRight": ("", 39)}


async def rate(port: int, downloads: Path, votes: list[int]) -> None:
    """Fill in the form by keyboard alone; a vote is the index of the choice, from the left."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            (page,) = [target for target in await answer.json() if target["type"] == "page"]
        async with session.ws_connect(page["webSocketDebuggerUrl"]) as socket:
            sent = iter(range(1, 10**6))

            async def call(method: str, **params):
                number = next(sent)
                await socket.send_json({"id": number, "method": method, "params": params})
                while (message := json.loads((await socket.receive()).data)).get("id") != number:
                    pass
                assert "error" not in message, message
                return message["result"]

            async def press(key: str) -> None:
                text, code = KEYS[key]
                params = {"key": key, "windowsVirtualKeyCode": code}
                await call("Input.dispatchKeyEvent", type="keyDown", **params, **({"text": text} if text else {}))
                await call("Input.dispatchKeyEvent", type="keyUp", **params)

            async def holds(condition: str) -> bool:
                return (await call("Runtime.evaluate", expression=condition))["result"]["value"]

            while not await holds("location.protocol == 'file:' && document.readyState == 'complete'"):
                await asyncio.sleep(0.05)
            await call("Page.bringToFront")
            await call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
            while not await holds("document.activeElement.id == 'rater'"):  # the first keys may come too early
                await press("Tab")
            await call("Input.insertText", text='Ann "A" Lee')
            for vote in votes:
                await press("Tab")
                await press(" ")
                for _ in range(vote):
                    await press("ArrowRight")
            await press("Tab")
            await press("Enter")
            while not list(downloads.glob("*.csv")):
                await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_rater_needs_no_mouse(study, chromium, tmp_path):
    study("export", "--model", "tiny", "--settings", "greedy-acd", "greedy", "--pairs", "3", "study")
    folder, downloads = tmp_path / "browser", tmp_path / "downloads"
    downloads.mkdir()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    options += ["--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1", "--remote-allow-origins=*"]
    browser = subprocess.Popen(
        [chromium, *options, (tmp_path / "study/form.html").as_uri()], stderr=subprocess.PIPE, text=True
    )
    try:
        line = next(line for line in browser.stderr if "DevTools listening on" in line)
        port = int(line.rpartition(":")[2].partition("/")[0])
        asyncio.run(asyncio.wait_for(rate(port, downloads, [0, 1, 2, 0, 0, 1]), 60))
    finally:
        browser.terminate()
        browser.wait(30)
    (ratings,) = downloads.glob("*.csv")
    assert ratings.name == "ratings-Ann_A_Lee.csv"
    rows = list(csv.DictReader(open(ratings)))
    assert [row["vote"] for row in rows] == ["left", "right", "tie", "left", "left", "right"]
    assert {row["rater"] for row in rows} == {'Ann "A" Lee'}
    done = study("import", "study", str(ratings))
    assert done.returncode == 0 and "6 votes by 1 raters on 6 pairs" in done.stdout, done.stderr
