from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess

import pytest

from autocontrastive_gen.report.table import EMPTY, Column, Number, Table, display

TABLE = Table(
    "made",
    "A made table: 50 % & more",
    [
        Column("name", "Name"),
        Column("score", "Score", numeric=True, interval=True),
        Column("extra", "Extra", numeric=True, shown=False),
        Column("unused", "Unused"),
    ],
    [
        {"name": "top_k|x", "score": Number(0.123456789, 0.1, 0.2, n=5), "extra": Number(1 / 3)},
        {"name": "“human” – {a}", "score": None},
    ],
    note="Costs 5 $ ≥ nothing.",
    groups=("name",),
)


def test_numbers_are_shown_with_interval_sign_and_minus():
    assert Number(0.41234, 0.3714, 0.4551).text == "0.412 [0.371, 0.455]"
    assert Number(-0.5, signed=True, digits=1).text == "−0.5"
    assert Number(0.5, signed=True, digits=1).text == "+0.5"
    assert Number(2.5e9).text == "2.5e+09"
    assert [display(x) for x in (None, True, 7)] == [EMPTY, "yes", "7"]


def test_csv_has_unrounded_numbers():
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert rows[0] == {
        "name": "top_k|x",
        "score": "0.123457",
        "score_low": "0.1",
        "score_high": "0.2",
        "extra": "0.333333",
        "unused": "",
    }
    assert rows[1]["score"] == rows[1]["score_low"] == ""


def test_markdown_is_a_table_of_the_shown_columns():
    lines = TABLE.markdown().splitlines()
    assert lines[2] == "| Name | Score |" and lines[3] == "|:--|--:|"
    assert lines[4] == r"| top_k\|x | 0.123 [0.100, 0.200] |"
    assert "Costs 5 $ ≥ nothing." in lines


def test_empty_tables_say_so():
    empty = Table("empty", "Empty", [Column("a", "A")], [])
    assert "None of this was run." in empty.markdown()
    assert empty.csv() == "a\n"


def test_latex_escapes_and_draws_groups():
    tex = TABLE.latex()
    assert r"top\_k|x & 0.123 [0.100, 0.200] \\" in tex
    assert r"50 \% \& more" in tex and r"Costs 5 \$ $\geq$ nothing." in tex
    assert tex.count(r"\addlinespace") == 1 and r"\toprule" in tex and r"\bottomrule" in tex


def test_long_entries_break_in_latex():
    table = Table("t", "T", [Column("a", "A"), Column("b", "B")], [{"a": "word " * 10, "b": "short"}])
    assert r"\begin{tabular}{p{40mm}l}" in table.latex()


@pytest.mark.slow
def test_latex_compiles(made_run, results):
    if shutil.which("pdflatex") is None and os.environ.get("CI") != "true":
        pytest.skip("pdflatex is not installed; apt-get install texlive-latex-recommended")
    from autocontrastive_gen.report.render import write_report

    write_report(made_run, results.plan)
    parts = sorted((made_run.reports / "tables").glob("*.tex"))
    assert len(parts) == 12
    body = "\n".join(rf"\input{{{part.as_posix().removesuffix('.tex')}}}\clearpage" for part in parts)
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
    with open("all.tex", "w") as file:
        file.write(rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"\((\d+) pages?", done.stdout).group(1)) >= len(parts)
