"""Colours of page and figures: readable in light and dark, told apart by colour-blind eyes."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from autocontrastive_gen.report import drawing

CSS = (Path(drawing.__file__).parent / "page/style.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", rule))
    for rule in re.findall(r":root(?:\[data-theme=dark\])? \{ color-scheme: (?:light )?dark;(.*?)\}", CSS, re.S)
)
TEXT = ("ink", "soft", "accent", "good", "bad", "open")
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    rgb = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """Contrast ratio of WCAG 2, 1 to 21."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_ratio_is_the_standard_one():
    assert contrast("#000", "#ffffff") == pytest.approx(21) and contrast("#777", "#fff") == pytest.approx(
        4.48, abs=0.01
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_readable(theme):
    assert {"paper", "wash", "mark", *TEXT} <= theme.keys()
    for name in TEXT:
        for ground in ("paper", "wash"):
            assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
    assert contrast(theme["ink"], theme["mark"]) >= 4.5, "a changed token"


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_of_figures_stand_out(theme):
    for colour in {*drawing.SERIES, drawing.PLAIN, drawing.CONTRAST, drawing.OTHER}:
        assert contrast(colour, theme["paper"]) >= 3, colour


def test_the_system_and_the_button_give_the_same_dark():
    system = re.search(r"prefers-color-scheme: dark\) \{ :root:not\(\[data-theme=light\]\) \{(.*?)\}", CSS, re.S)
    assert dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", system.group(1))) == DARK


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_differ_to_colour_blind_eyes(kind):
    seen = [lab(np.array(BLINDNESS[kind]) @ linear(colour)) for colour in drawing.SERIES[:4]]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 10
    plain, other = (lab(np.array(BLINDNESS[kind]) @ linear(c)) for c in (drawing.PLAIN, drawing.CONTRAST))
    assert np.linalg.norm(plain - other) > 30
