"""The estimate before a run, against operations that were counted while a tiny model worked."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from autocontrastive_gen.experiment import estimate, model_sizes, rates
from autocontrastive_gen.experiment.params import check, load_profile, profiles
from autocontrastive_gen.experiment.plan import grid_of
from autocontrastive_gen.experiment.settings import Setting
from stages import profile

CONFIGS = {
    "gpt2": {"n_layer": 3, "n_embd": 64, "n_head": 4, "vocab_size": 300},
    "gpt_neo": {
        "num_layers": 2,
        "hidden_size": 64,
        "num_heads": 4,
        "vocab_size": 300,
        "attention_types": [[["global"], 2]],
    },
    "llama": {
        "num_hidden_layers": 3,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 300,
    },
}


def in_place(total, left, right, *, out_shape=None, **options) -> int:
    """Operations of ``addmm_``, which torch's counter leaves out; it passes model_sizes."""
    return 2 * left[0] * left[1] * right[1]


def counted(call) -> int:
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        call()
    return counter.get_total_flops()


def counter_of(root, shape, **changed):
    params = load_profile("smoke")
    params = params.model_copy(update=changed)
    return estimate.Counter(params, "tiny", shape, shape)


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **CONFIGS[request.param])
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def test_reading_is_counted_as_the_model_does_it(root, model):
    shape = model_sizes.of_config(model.config)
    ids = torch.zeros(4, 40, dtype=torch.long)
    work = counter_of(root, shape).reading(4 * 40, 40, 1, 4)
    assert work.flops == pytest.approx(counted(lambda: model(ids)), rel=0.01)
    assert shape.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("beams", [1, 3])
def test_decoding_is_counted_as_generate_does_it(root, model, beams):
    shape = model_sizes.of_config(model.config)
    counter = counter_of(root, shape)
    prompt = round(counter.prompt)
    options = {"max_new_tokens": 20, "min_new_tokens": 20, "do_sample": False, "num_beams": beams, "pad_token_id": 0}
    ids = torch.ones(2, prompt, dtype=torch.long)
    done = counted(lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options))
    assert counter.decoding(2, 20, 2, beams, shape.layers).flops == pytest.approx(done, rel=0.1)


@pytest.mark.parametrize("mode", ["LAYER_SPECIFIC_PROJECTION", "SHARED_PROJECTION_CAST_OUTPUTS"])
def test_training_exits_is_counted_as_the_loss_does_it(root, smoke_model_folder, mode):
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
    from autocontrastive_gen.training.exits import Exits
    from autocontrastive_gen.training.objective import cross_entropy

    base = load_profile("smoke")
    exits = tuple(base.models["tiny"].exits)
    configuration = MultiExitConfiguration(
        vocab_projection_mode=VocabularyProjectionMode[mode], lm_head_layer_indices=exits
    )
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=configuration)
    model.requires_grad_(False)
    heads, rows = Exits(model), 64
    states = torch.randn(rows, model.config.hidden_size)
    labels = torch.zeros(rows, dtype=torch.long)

    def step():
        for layer in heads.weights:
            student, head = heads.student(layer, states)
            cross_entropy(student, head, labels).backward()

    entry = base.models["tiny"].model_copy(update={"mode": mode})
    train = base.train.model_copy(update={"method": "cross-entropy", "sampled_softmax": None})
    counter = counter_of(root, model_sizes.of_config(model.config), models={"tiny": entry}, train=train)
    assert counter.gradients(rows).flops == pytest.approx(counted(step), rel=0.15)


def test_an_exit_halfway_costs_half_and_beams_multiply(root, model):
    counter = counter_of(root, model_sizes.of_config(model.config))
    plain, beam = (counter.generate(Setting(name, name)) for name in ("greedy", "beam"))
    decoded = [cost.parts[0][0].flops for cost in (plain, beam)]
    assert decoded[1] == pytest.approx(2 * decoded[0])


@pytest.fixture
def command(root, monkeypatch, capsys):
    def call(**options) -> list[str]:
        monkeypatch.chdir(root)
        profile.estimate(**options)
        return capsys.readouterr().out.splitlines()

    return call


def test_the_paper_is_estimated_without_its_files(root, command):
    lines = command(profile="paper", flops=1e14, bandwidth=1.5e12)
    run = load_profile("paper").run
    assert sum(line.startswith("generate") for line in lines) == 1 + len(run.models) * len(run.settings)
    assert lines[-2].startswith("run") and "1e+14 FLOP/s" in lines[-1]
    # 12 heads of 1024 x 50257 in float32 with gradient and two moments, on a trunk of 355 million weights
    train = next(line for line in lines if line.startswith("train      gpt2-medium"))
    assert float(train.split(" GiB")[0].split()[-1]) > (16 * 12 * 1024 * 50257 + 4 * 354823168) / 2**30


def test_rates_are_above_zero_and_measured_where_none_are_stated(command):
    with pytest.raises(ValueError, match=r"--flops -1\.0"):
        command(flops=-1.0)
    with pytest.raises(ValueError, match="did you mean paper"):
        command(profile="papr")
    measured = rates.measured_rates()
    assert 1e8 < measured.float32 < 1e16 and 1e8 < measured.bandwidth < 1e14


def test_a_model_of_unknown_size_is_told(root, monkeypatch):
    monkeypatch.chdir(root)
    params = load_profile("paper")
    hub = params.assets["gpt2-medium"].model_copy(update={"repo": "nobody/nothing"})
    params = params.model_copy(update={"assets": {**params.assets, "gpt2-medium": hub}})
    with pytest.raises(ValueError, match=r"assets\.gpt2-medium.*conf/sizes\.yaml"):
        model_sizes.of_asset(params, "gpt2-medium")


def test_every_task_of_the_profiles_has_its_size(root):
    sizes = model_sizes.yaml.safe_load((root / model_sizes.SIZES).read_text())["tasks"]
    assert profiles()
    for name in profiles():
        assert set(load_profile(name).run.tasks) <= set(sizes), name


def test_what_select_tries_is_counted(root):
    content = load_profile("laptop").model_dump(mode="json")
    alphas = {"choose": {"alpha": [0.05, 0.1, 0.3]}}
    content["contrasts"] |= {"acd": {"method": "acd", **alphas}, "cd": {"method": "cd", **alphas}}
    content["contrasts"]["dola"] = {"method": "dola", "choose": {"layers": ["all", "high"]}}
    content["run"] |= {"settings": ["greedy-acd", "greedy-acd15", "greedy-dola", "greedy-cd15"]}
    content["run"] |= {"benchmark_settings": ["original", "sled"]}

    def tried(**changed) -> dict[str, int]:
        content["models"]["smollm2"] |= changed
        params = check(content, "")
        shape = model_sizes.of_config(AutoConfig.for_model("gpt2", **CONFIGS["gpt2"]))
        counter, grid = estimate.Counter(params, "smollm2", shape, shape), grid_of(params)
        return {name: counter.candidates(grid.all, name) for name in grid.contrasts}

    assert tried() == {"acd": 3 * 4, "dola": 2, "cd": 3, "sled": 0}
    assert tried(lower=25) == {"acd": 3 * 2, "dola": 2, "cd": 3, "sled": 0}
