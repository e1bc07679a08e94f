"""The page in headless Chromium: what it looks like on a phone and a desktop, and what its script does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")
FRAME = """<!doctype html><iframe src="page.html" style="width:{width}px;height:{height}px;border:0"></iframe>
<pre id="checks"></pre>
<script>addEventListener("message", (it) => {{ document.getElementById("checks").textContent = it.data; }});</script>"""
"""A window of Chromium is never as narrow as a phone; a frame is."""


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    assert found, "CI must have Chromium: .ci/run installs it"
    return found


def browse(chromium: str, page: Path, folder: Path, size: tuple[int, int], *options: str) -> str:
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=5000"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("size", SIZES)
def test_the_page_works(chromium, report, tmp_path, size):
    page, frame = tmp_path / "page.html", tmp_path / "frame.html"
    text = (report / "index.html").read_text()
    page.write_text(text.replace("</body>", f"<script>{CHECKS}</script></body>"))
    frame.write_text(FRAME.format(width=SIZES[size][0], height=SIZES[size][1]))
    text = browse(chromium, frame, tmp_path / "profile", (1400, 1000), "--dump-dom")
    written = re.search(r'<pre id="checks">(.*?)</pre>', text, re.S).group(1)
    assert written, "the script of the page failed"
    found = json.loads(written.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))

    values = [float(entry.split()[0]) for entry in found["ascending"]]
    assert values == sorted(values) and found["aria"] == "ascending"
    assert [float(entry.split()[0]) for entry in found["descending"]] == sorted(values, reverse=True)
    assert found["restored"]
    assert found["inner"] == SIZES[size][0]
    assert found["width"] <= found["inner"], "wide tables scroll in their own box, the page does not"
    assert found["sticky"], "the names of settings stay in view while a table scrolls"
    assert found["figures"] == 7 and found["edge"] <= found["inner"], "no panel lies outside the screen"
    assert found["letters"] >= 11, "figures can be read"
    assert found["stops"] == 1 and found["moved"] and found["escaped"]
    assert "runs/golden/score/made/metrics.json" in found["number"] and "score@made" in found["number"]
    assert (found["articles"], found["first"], found["next"], found["around"]) == (1, "1", "2", "3")
    assert found["several"] == ["greedy-acd", "beam-acd"] and found["prompts"] == 1
    assert found["picked"] == "beam-acd" and found["told"] == "told"
    assert "Upper exit (0.300), lower exit (0.100). The upper exit wanted “ the” (0.500)" in found["token"]
    assert found["marks"] == 1 and found["next_mark"]
    assert found["themes"][0] != found["themes"][1]
    assert min(found["contrast"]) >= 4.5, "text must be readable in light and dark (WCAG AA)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_is_drawn(chromium, report, tmp_path, size, scheme):
    from matplotlib.image import imread

    picture = tmp_path / "picture.png"
    preferred = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    browse(chromium, report / "index.html", tmp_path / "profile", SIZES[size], f"--screenshot={picture}", preferred)
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == SIZES[size][::-1]
    background = pixels[-1, 2].mean()
    assert background > 0.9 if scheme == "light" else background < 0.2
    assert pixels.std() > 0.03, "something is drawn"
