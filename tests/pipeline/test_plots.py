"""`dvc plots` draws without a network: its page carries the libraries that DVC would load from a CDN."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc_render.html import render_html
from dvc_render.vega import VegaRenderer

POINTS = [{"step": i, "loss": value, "rev": "workspace"} for i, value in enumerate((3.0, 2.0, 1.5))]


@pytest.fixture
def page(root, tmp_path) -> Path:
    """A plot as `dvc plots show` renders it with this repository's configuration."""
    config = (root / ".dvc/config").read_text()
    template = root / ".dvc" / re.search(r"html_template = (\S+)", config)[1]
    drawn = VegaRenderer(POINTS, "loss", x="step", y="loss", title="Loss by step")
    return Path(render_html([drawn], tmp_path / "index.html", html_template=template))


def test_the_page_loads_nothing_and_has_the_versions_that_dvc_asks_for(page):
    text = page.read_text()
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=", text) and "vegaEmbed('#" in text
    wanted = re.findall(r"npm/(vega[\w-]*@[\d.]+)", VegaRenderer.SCRIPTS)
    assert len(wanted) == 3
    assert wanted == re.findall(r"<!-- (vega[\w-]*@[\d.]+)", text), "a new DVC: bundle its versions"


@pytest.mark.slow
def test_a_browser_without_a_network_draws_it(page, tmp_path):
    chromium = shutil.which("chromium") or pytest.skip("no Chromium on this machine")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=5000", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=240).stdout
    assert re.search(r"<canvas[^>]*class=\"marks\"|<svg[^>]*class=\"marks\"", drawn)
