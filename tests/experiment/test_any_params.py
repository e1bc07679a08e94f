"""Parameters of every kind: what is allowed is read back and planned, and anything else ends in the list of faults."""

import json

import pytest
import yaml
from hypothesis import strategies as st

from autocontrastive_gen.experiment import plan
from autocontrastive_gen.experiment.params import BASE, Params, check, load_params, load_profile, overlaid
from autocontrastive_gen.experiment.rendering import render
from autocontrastive_gen.foundation.files import read_yaml
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling.method import METHODS
from tests.strategies import TEXT, YAML_JUNK, altered, bounded, budget, damaged, outcome, parameters_of

SMOKE = load_profile("smoke").model_dump(mode="json")
NAMES = ["one", "top-k", "a-1"]


@st.composite
def catalogue(draw, registry, names):
    """Entries of any registered method with any of its parameters."""
    methods = draw(st.lists(st.sampled_from(sorted(registry)), min_size=1, max_size=len(names)))
    entries = {}
    for name, method in zip(names, methods, strict=False):
        entries[name] = {"method": method, **draw(parameters_of(registry[method]))}
    return entries


def takes_lower(entry):
    parameters = {key: value for key, value in entry.items() if key != "method"}
    return METHODS.build(entry["method"], parameters).takes_lower


@st.composite
def contents(draw):
    """The parameters of a run of the tiny model with exits 2 and 4, with settings made from any two catalogues."""
    content = json.loads(json.dumps(SMOKE))
    content["decoders"] = draw(catalogue(DECODERS, NAMES))
    content["contrasts"] = draw(catalogue(METHODS, ["acd", "x", "mine"]))
    tails = {"original", "exit2", "exit4"}
    for name, entry in content["contrasts"].items():
        layers = ["", "2"] if takes_lower(entry) else [""]
        tails |= {f"{start}{name}{layer}" for start in ("", "exit4-") for layer in layers}
    chosen = draw(st.lists(st.sampled_from(sorted(tails)), min_size=1, max_size=4, unique=True))
    content["run"]["benchmark_settings"] = chosen
    decoders = st.sampled_from(sorted(content["decoders"]))
    content["run"]["settings"] = sorted(
        {draw(decoders) + ("" if tail == "original" else f"-{tail}") for tail in chosen}
    )
    content["seed"] = draw(st.integers(0, 2**63 - 1))
    content["report"] |= {"title": draw(TEXT), "banner": draw(TEXT)}
    content["train"]["learning_rate"] = draw(st.floats(1e-6, 1.0))
    content["select"]["coherence_margin"] = draw(st.floats(0, 1e3))
    return content


@budget(8, 120, content=contents())
def test_what_is_allowed_is_read_back_and_planned(content, tmp_path):
    params = check(overlaid(read_yaml(BASE), content), "params.yaml")
    (tmp_path / "params.yaml").write_text(render(params), encoding="utf-8")
    planned = plan.build(params)
    assert json.loads(json.dumps(planned)) == planned
    assert set(planned["generate"]["tiny"]) == set(content["run"]["settings"])
    assert load_params(tmp_path / "params.yaml") == params


@budget(30, 800, content=altered(SMOKE, YAML_JUNK))
def test_altered_parameters_end_in_a_plan_or_a_list_of_faults(content):
    with bounded():
        params = outcome(lambda: check(content, "params.yaml"))
        if isinstance(params, Params) and content["assets"] == SMOKE["assets"]:
            outcome(lambda: (plan.build(params), plan.warnings_of(params), render(params)))


@pytest.fixture(scope="module")
def text():
    return yaml.safe_dump({key: SMOKE[key] for key in SMOKE if key not in ("train", "assets")}).encode()


@budget(8, 200, data=st.data())
def test_a_damaged_file_ends_in_parameters_or_a_list_of_faults(data, text, tmp_path):
    (tmp_path / "params.yaml").write_bytes(data.draw(damaged(text)))
    with bounded():
        outcome(lambda: load_params(tmp_path / "params.yaml"))
