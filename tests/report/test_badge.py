"""Badges: what they count, and that the committed ones are those of the committed report and package."""

import csv
import os
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

from autocontrastive_gen.report.badge import GREY, badge, claims_badge

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def verdicts(*names: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(verdict=name) for name in names]


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_verdicts_are_counted_and_absent_ones_left_out():
    made = claims_badge("smoke", verdicts("supported", "not shown", "supported", "contradicted", "not run"))
    assert texts(made) == ["claims, smoke", "2 supported", "1 contradicted", "1 not shown", "1 not run"]
    title = ElementTree.fromstring(made).findtext(f"{SVG}title")
    assert title == "claims, smoke: 2 supported, 1 contradicted, 1 not shown, 1 not run"
    assert texts(claims_badge("smoke", [])) == ["claims, smoke", "none tested"]


def test_parts_stand_side_by_side_and_hold_their_text():
    root = ElementTree.fromstring(badge("a < b", [("one", GREY), ("another", "#2c7a3d")]))
    boxes = [element.attrib for element in root.find(f"{SVG}g")]
    edge = 0.0
    for box, text in zip(boxes, root.iter(f"{SVG}text"), strict=True):
        assert float(box["x"]) == pytest.approx(edge)
        edge += float(box["width"])
        start, length = float(text.attrib["x"]), float(text.attrib["textLength"])
        assert float(box["x"]) < start and start + length < edge
    assert edge == pytest.approx(float(root.attrib["width"]))


def test_white_text_is_legible_on_every_colour():
    made = claims_badge("smoke", verdicts("supported", "not shown", "contradicted"))
    for box in ElementTree.fromstring(made).find(f"{SVG}g"):
        red, green, blue = (int(box.attrib["fill"][i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert 1.05 / (luminance + 0.05) >= 4.5, box.attrib["fill"]


def test_the_report_writes_its_badge(report):
    rows = list(csv.DictReader((report / "tables/claims.csv").open()))
    assert rows
    assert (report / "badge.svg").read_text() == claims_badge(report.name, verdicts(*(row["verdict"] for row in rows)))


@pytest.mark.parametrize("folder", sorted((ROOT / "reports").glob("*/badge.svg")), ids=lambda path: path.parent.name)
def test_committed_badges_count_the_committed_claims(folder):
    rows = csv.DictReader((folder.parent / "tables/claims.csv").open())
    expected = claims_badge(folder.parent.name, verdicts(*(row["verdict"] for row in rows)))
    assert folder.read_text() == expected


@pytest.mark.parametrize(("name", "label"), [("licence", "licence"), ("python", "Python")])
def test_badges_of_the_package_say_what_its_metadata_say(name, label):
    """After a change of pyproject.toml: UPDATE_GOLDEN=1 pytest tests/report/test_badge.py."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    value = {"licence": project["license"], "python": project["requires-python"].replace(">=", "") + " or newer"}[name]
    path, made = ROOT / f"docs/badges/{name}.svg", badge(label, [(value, "#2f62b8")])
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(made)
    assert path.read_text() == made
