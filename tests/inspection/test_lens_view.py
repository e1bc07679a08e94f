"""What a lens gives: tables, a page, a picture, and itself in a notebook."""

import html
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from autocontrastive_gen import lens
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.inspection.layer_measures import MEASURES
from autocontrastive_gen.inspection.lens_page import visible
from tests.inspection.conftest import TEXT

HOSTILE = 'The </script><script>alert("1")</script> & <b>road</b> {{ 7 * 7 }}'


@pytest.fixture
def seen(plain, tokenizer):
    return lens(plain, tokenizer, TEXT, contrasts=["acd2", "dola2"])


def payload(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="lens">(.*?)</script>', page, re.DOTALL)[1])


def test_numbers_are_a_table_with_a_row_per_layer_and_token(seen):
    table, tokens = seen.numbers, seen.tokens
    assert "".join(tokens) == TEXT
    assert len(table) == 8 * len(tokens)
    assert list(table.columns)[7:] == [measure.key for measure in MEASURES]
    first = table[table["row"] == "layer 3"]
    assert first["layer"].unique().tolist() == [3] and first["kind"].unique().tolist() == ["direct"]
    assert first["token"].tolist() == tokens and first["next_token"].tolist()[:-1] == tokens[1:]
    np.testing.assert_array_equal(first["entropy"], seen.rows[2].numbers[:, 1])
    assert table.loc[table["position"] == len(tokens) - 1, ["rank", "cross_entropy"]].isna().all(axis=None)
    assert table.loc[table["kind"] == "contrast", "layer"].isna().all()


def test_the_most_likely_tokens_and_the_plausible_sets_are_tables(seen):
    table = seen.most_likely
    assert len(table) == 8 * len(seen.tokens) * 10 and set(table["place"]) == set(range(1, 11))
    firsts = table[table["place"] == 1]
    assert firsts["token"].tolist() == seen.numbers["first_choice"].tolist()
    np.testing.assert_allclose(firsts["probability"], seen.numbers["probability"], rtol=1e-6)
    plausible = seen.plausible
    assert set(plausible["row"]) == {"acd2", "dola2"}
    counts = plausible.groupby(["row", "position"]).agg({"size": "first", "token": "count"})
    assert (counts["token"] == counts["size"].clip(upper=20)).all()


def test_the_page_holds_the_numbers_and_asks_nothing_of_a_network(seen, tmp_path):
    seen.to_html(tmp_path / "lens.html")
    page = (tmp_path / "lens.html").read_text()
    assert page == seen.html()
    assert not re.search(r"""(src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(""", page)
    content = payload(page)
    assert "".join(content["words"][i] for i in content["tokens"]) == TEXT
    assert [row["label"] for row in content["rows"]] == [row.label for row in seen.rows]
    for row, source in zip(content["rows"], seen.rows, strict=True):
        for i, measure in enumerate(MEASURES):
            shown = [np.nan if x is None else np.inf if x == "inf" else x for x in row["numbers"][measure.key]]
            np.testing.assert_allclose(shown, source.numbers[:, i], rtol=1e-3, atol=1e-6)
        assert content["words"][row["top"][0][0][0]] == seen.words[int(source.top_ids[0, 0])]
        assert ("sets" in row) == (row["kind"] == "contrast")


def test_no_text_becomes_part_of_the_page(plain, tokenizer):
    page = lens(plain, tokenizer, HOSTILE, title=HOSTILE).html()
    assert (
        page.count("<script") == page.count("</script>") == 2
        and "<b>road" not in page
        and "49" not in page.partition("<main>")[0]
    )
    assert html.escape(HOSTILE, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")
    content = payload(page)
    assert "".join(content["words"][i] for i in content["tokens"]) == HOSTILE


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(seen):
    shown = seen._repr_html_()
    assert shown.startswith("<iframe ")
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == seen.html()


def test_the_same_text_gives_the_same_bytes(plain, tokenizer, seen, tmp_path):
    again = lens(plain, tokenizer, TEXT, contrasts=["acd2", "dola2"])
    assert again.html() == seen.html()
    for each, name in ((seen, "a"), (again, "b")):
        each.to_png(tmp_path / f"{name}.png")
        each.to_csv(tmp_path / f"{name}.csv")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("measure", [measure.key for measure in MEASURES])
def test_a_picture_of_every_measure(seen, tmp_path, measure):
    from matplotlib.image import imread

    seen.to_png(tmp_path / "lens.png", measure, dpi=40)
    pixels = imread(tmp_path / "lens.png")[..., :3]
    assert pixels.shape[1] > pixels.shape[0] > 40 and pixels.std() > 0.05


def test_a_picture_of_an_unknown_measure_is_refused(seen, tmp_path):
    with pytest.raises(InputError, match="measure: there are probability"):
        seen.to_png(tmp_path / "lens.png", "loss")


@pytest.mark.parametrize(
    "token, shown", [(" the", "the"), ("\n\n", "↵↵"), ("  ", "␣␣"), ("", "␣"), ("a\tb", "a⇥b"), ("a\x07", "a�")]
)
def test_what_cannot_be_seen_of_a_token_is_made_visible(token, shown):
    assert visible(token) == shown


@pytest.mark.slow
def test_looking_needs_none_of_the_packages_that_draw(smoke_model_folder):
    code = f"""
import sys
for name in ("pandas", "jinja2", "markupsafe", "matplotlib", "accelerate"):
    sys.modules[name] = None  # importing it fails
from transformers import AutoModelForCausalLM, AutoTokenizer
from autocontrastive_gen import lens
folder = {str(smoke_model_folder)!r}
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
print(lens(model, tokenizer, "the road", contrasts=["acd"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("Lens('model', 7 rows, "), done.stderr
