"""The command that writes a lens: its files, and its messages."""

import csv
import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration, lens


@pytest.fixture
def command(root, tmp_path, smoke_model_folder):
    def run(*arguments, model=smoke_model_folder, code=0):
        line = [sys.executable, "-m", "stages.lens", "--model", model, *arguments]
        done = subprocess.run(line, cwd=root, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stderr

    return run


def test_a_page_with_trained_exits_and_contrasts(command, tmp_path, smoke_model_folder):
    exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, exits)
    model.save_exits(tmp_path / "exits")
    page = tmp_path / "new" / "lens.html"
    said = command(
        "--exits", tmp_path / "exits", "--text", "the road", "--contrast", "acd2", "dola", "--output", page
    )  # fmt: skip
    assert f"lens: {page} written: 5 rows" in said
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    assert page.read_text() == lens(model, tokenizer, "the road", contrasts=["acd2", "dola"]).html()


def test_numbers_of_a_model_without_exits(command, tmp_path):
    (tmp_path / "text.txt").write_text("the road follows the river\n")
    table = tmp_path / "lens.csv"
    command("--text-file", tmp_path / "text.txt", "--layers", "all", "--skip", "1", "--output", table)
    rows = list(csv.DictReader(open(table)))
    assert {row["row"] for row in rows} == {f"layer {layer}" for layer in range(1, 7)}
    assert "".join(row["token"] for row in rows if row["row"] == "layer 6") in "the road follows the river"
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--text", "the", "--output", "src"], "--output src: is a folder; name a file, such as src/lens.html"),
        (["--text", "a\udcff", "--output", "lens.html"], "--text: is no text in UTF-8"),
        (["--text", "the", "--output", "lens.html", "--skip", "-1"], "greater than or equal to 0"),
        (["--text", "the", "--output", "lens.pdf"], "must end in one of .html, .png, .csv"),
        (["--text", "the", "--output", "lens.png", "--measure", "rnk"], "did you mean rank?"),
        (["--text-file", "nowhere.txt", "--output", "lens.html"], "nowhere.txt is no readable file of text"),
        (["--output", "lens.html"], "give either --text or --text-file"),
        (["--text", "the"], "Missing option '--output'"),
    ],
)
def test_a_mistake_ends_in_a_message(command, arguments, message):
    assert message in command(*arguments, code=2)


def test_a_model_that_is_not_there(command, tmp_path):
    said = command("--text", "the", "--output", "lens.html", model=tmp_path / "none", code=2)
    assert f"{tmp_path}/none: cannot load a tokenizer from it: there is no such folder" in said
