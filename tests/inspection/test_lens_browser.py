"""The lens in headless Chromium: on a phone and a desktop, by pointer and by keyboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from autocontrastive_gen import lens
from tests.inspection.conftest import TEXT
from tests.report.test_browser import FRAME, SIZES, browse, chromium  # noqa: F401

pytestmark = pytest.mark.slow
CHECKS = (Path(__file__).parent / "lens_checks.js").read_text(encoding="utf-8")


@pytest.fixture
def page(with_exits, tokenizer, tmp_path) -> Path:
    tokens = tokenizer(TEXT)["input_ids"]
    words = f"{TEXT} </script><i>" + " and the people" * 10
    assert len(tokenizer(words)["input_ids"]) > len(tokens)
    lens(with_exits(), tokenizer, words, layers="all", contrasts=["acd4", "dola2"]).to_html(tmp_path / "page.html")
    return tmp_path / "page.html"


@pytest.mark.parametrize("size", SIZES)
def test_the_lens_works(chromium, page, tmp_path, size):  # noqa: F811
    frame = tmp_path / "frame.html"
    page.write_text(page.read_text().replace("</body>", f"<script>{CHECKS}</script></body>"))
    frame.write_text(FRAME.format(width=SIZES[size][0], height=SIZES[size][1]))
    text = browse(chromium, frame, tmp_path / "profile", (1400, 1000), "--dump-dom")
    written = re.search(r'<pre id="checks">(.*?)</pre>', text, re.S).group(1)
    assert written, "the script of the page failed"
    found = json.loads(written.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))

    assert found["inner"] == SIZES[size][0] and found["width"] <= found["inner"]
    assert found["roles"] == ["grid", "gridcell", "row"] and found["scripts"] == 3
    assert (found["rows"], found["every"]) == (5, 8), "layers that are read untrained come on demand"
    assert found["scrolls"] and found["sticky"] and found["group"] and "more" in found["more"]
    end = found["end"][1]
    assert (found["clicked"], found["moved"], found["home"]) == ([0, 0], [1, 1], [1, 0])
    assert found["end"] == [1, end] and end > 30
    assert found["last"] == found["edge"] == [7, end] and found["start"] == [0, 0]
    assert found["stops"] == found["stops_after"] == 1 and found["visible"]
    assert re.match("layer 1 after “.*”: “.*”, probability .*; next came “.*”, rank", found["label"])
    assert found["chosen"] == "5", "a row that is hidden loses the choice to the last layer"
    assert found["entries"] == 10 and "layer 2" in found["panel"] and "Entropy" in found["panel"]
    assert found["open"] == "visible" and found["fixed"] == ("fixed" if size == "phone" else "sticky")
    assert found["hovered"].startswith("acd4") and "Plausible: " in found["plausible"]
    assert found["left"].startswith("layer 2")
    assert found["entered"] == "panel" and found["escaped"] == [1, 1]
    assert found["closed"] == ("hidden" if size == "phone" else "visible")
    assert found["painted"] == 7, "every measure has colours of its own, and so have light and dark"
    assert min(found["contrast"]) >= 4.5, "text must be readable in light and dark (WCAG AA)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_lens_is_drawn(chromium, page, tmp_path, size, scheme):  # noqa: F811
    from matplotlib.image import imread

    picture = tmp_path / "picture.png"
    preferred = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    browse(chromium, page, tmp_path / "profile", SIZES[size], f"--screenshot={picture}", preferred)
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == SIZES[size][::-1]
    background = pixels[2, 2].mean()
    assert background > 0.9 if scheme == "light" else background < 0.2
    assert pixels.std() > 0.03, "something is drawn"
