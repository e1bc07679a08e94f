"""The card beside exits that Python stores: nothing in it is invented, and its example runs."""

import re
import shutil

import pytest
from huggingface_hub import metadata_load
from transformers import AutoModelForCausalLM

from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from tests.modeling.conftest import MODES, tiny_model, tiny_plain

QUALITY = {
    "news": {
        "original": {"perplexity": 8.123456, "agreement": 1.0, "tokens": 100},
        "2": {"perplexity": 20.5, "agreement": 0.25, "tokens": 100},
    }
}


def test_the_card_says_what_the_model_and_the_caller_know(tmp_path):
    model = tiny_model(MODES[1])
    model.save_exits(tmp_path, metrics=QUALITY, licence="Apache-2.0")
    card = (tmp_path / "README.md").read_text()
    assert metadata_load(tmp_path / "README.md")["license"] == "apache-2.0"
    assert "Exits at layers 1, 2, 3 of 4, projection mode `SHARED_PROJECTION_CAST_OUTPUTS`" in card
    assert "| domain | exit | perplexity | agreement | tokens |" in card
    assert "| news | original | 8.123 | 1.000 | 100 |" in card and "| news | 2 | 20.5 | 0.250 | 100 |" in card
    assert "## Training" not in card  # nobody has said how they were trained


def test_what_nobody_knows_is_not_in_it(tmp_path):
    tiny_model(MODES[1]).save_exits(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "its licence (not stated)" in card and "base_model" not in card and "Quality" not in card


@pytest.mark.parametrize(
    ("metadata", "licence"), [("license: mit", "mit"), ("tags: [x]", "not stated"), ("[not: yaml", "not stated")]
)
def test_the_base_is_named_without_its_folder_and_its_licence_is_read(tmp_path, metadata, licence):
    base = tmp_path / "somewhere" / "small-model"
    tiny_plain().save_pretrained(base)
    (base / "README.md").write_text(f"---\n{metadata}\n---\n# A model\n")
    model = AutoMultiExitModel.from_model(AutoModelForCausalLM.from_pretrained(base), exits=_exits(tmp_path))
    model.save_exits(tmp_path / "again")
    card = (tmp_path / "again" / "README.md").read_text()
    assert "# Exits of small-model" in card and "somewhere" not in card
    assert f"its licence ({licence})" in card
    shutil.rmtree(base)  # the folder may be gone by the time the exits are stored
    model.save_exits(tmp_path / "again")
    card = (tmp_path / "again" / "README.md").read_text()
    assert "# Exits of small-model" in card and "somewhere" not in card and "not stated" in card


def test_the_example_loads_the_exits(tmp_path):
    base = tmp_path / "base"
    tiny_plain().save_pretrained(base)
    tiny_model(MODES[0], contrast_layer_indices=("original", 3)).save_exits(tmp_path / "exits")
    (code,) = re.findall("```python\n(.*?)```", (tmp_path / "exits" / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(code.replace("<base model>", str(base)).replace("<this folder>", str(tmp_path / "exits")), found)
    assert found["model"].multi_exit_config.get_description() == "original_vs_3"


def test_a_name_on_the_hub_is_the_base_of_the_card(tmp_path):
    model = tiny_model(MODES[1])
    model.config.name_or_path = "lab/base-model"
    model.save_exits(tmp_path, source="lab/its-exits")
    assert metadata_load(tmp_path / "README.md")["base_model"] == "lab/base-model"
    card = (tmp_path / "README.md").read_text()
    assert 'from_pretrained("lab/base-model"' in card and 'exits="lab/its-exits"' in card


def test_what_can_not_be_stored_or_pushed_is_named(tmp_path):
    model = tiny_model(MODES[1])
    with pytest.raises(InputError, match="metrics: give domain -> exit -> metric -> value"):
        model.save_exits(tmp_path, metrics={"loss": 2.0})
    with pytest.raises(FileError, match="exits lab/exits: .*offline"):  # the suite runs without a hub
        model.push_exits_to_hub("lab/exits")
    with pytest.raises(InputError, match="exits a/b/c"):
        model.push_exits_to_hub("a/b/c")
    with pytest.raises(InputError, match="has no exits to store"):
        AutoMultiExitModel.from_model(tiny_plain()).save_exits(tmp_path / "none")


def _exits(folder):
    tiny_model(MODES[1]).save_exits(folder / "exits")
    return folder / "exits"
