"""The same numbers whatever the way: cached or not, padded or not, batched or not, at the candidates or in full."""

import copy

import pytest
import torch

from autocontrastive_gen.modeling import deciding, heads
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.contrast import Acd
from autocontrastive_gen.modeling.exit_states import ModelLowers
from autocontrastive_gen.modeling.heads import ExitHead
from autocontrastive_gen.modeling.method import GivenLogits
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

SETTINGS = [
    {},
    {"output_layer_index": 2},
    {"contrast_layer_indices": ("original", 2)},
    {"contrast_layer_indices": (3, 1)},
    {"contrast_layer_indices": ("original", 1), "contrast_function": {"name": "dola", "layers": [1, 3]}},
]
MODELS = [*(("gpt2", mode) for mode in MODES), ("llama", MODES[1])]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def model(request):
    return tiny_model(request.param[1], request.param[0])


@pytest.fixture(params=SETTINGS, ids=lambda fields: "-".join(map(str, fields.values())) or "original")
def chosen(request, model):
    with model.set_exits(**request.param), torch.no_grad():
        yield model


def _generate(model, ids, mask=None, **kwargs):
    mask = torch.ones_like(ids) if mask is None else mask
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0, **kwargs}
    return model.generate(ids, attention_mask=mask, **options)


def slow_logits(model, ids, mode, fields):
    """Exits by the book: hidden states of the whole plain model, normed, cast, multiplied, contrasted in full."""
    plain = model.plain_class
    hidden = plain.forward(model, ids, output_hidden_states=True).hidden_states
    norm = model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm

    def logits(exit_):
        if exit_ in ("original", model.num_layers):
            return model.lm_head(hidden[-1])
        state = norm(hidden[exit_])
        if mode == MODES[0]:
            return state @ model.name_to_lm_exit_head[f"lm_head_{exit_}"].weight.T
        if mode == MODES[1]:
            state = state @ model.name_to_conv_matrix[f"{exit_}_to_{model.num_layers}"].weight.T
        return model.lm_head(state)

    if "output_layer_index" in fields:
        return logits(fields["output_layer_index"])
    if "contrast_layer_indices" in fields:
        upper, lower = fields["contrast_layer_indices"]
        log_u, log_l = logits(upper).double().log_softmax(-1), logits(lower).double().log_softmax(-1)
        plausible = log_u >= log_u.max(-1, keepdim=True).values + torch.tensor(0.1).log()
        score = (log_u - log_l).masked_fill(~plausible, -torch.inf).log_softmax(-1)
        mass = log_u.masked_fill(~plausible, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.where(plausible, score + mass, log_u).float()
    return logits("original")


@pytest.mark.parametrize("fields", SETTINGS[:4], ids=str)
def test_logits_are_those_of_the_book(model, fields):
    ids = tiny_ids()
    with model.set_exits(**fields), torch.no_grad():
        expected = slow_logits(model, ids, model.projection_mode.name, fields)
        torch.testing.assert_close(model(ids).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fields", SETTINGS[2:], ids=str)
def test_contrast_is_a_distribution(model, fields):
    with model.set_exits(**fields), torch.no_grad():
        logits = model(tiny_ids()).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(3, 7), atol=1e-5, rtol=0)


def test_cache_equals_no_cache(chosen):
    ids = tiny_ids()
    assert torch.equal(_generate(chosen, ids, use_cache=True), _generate(chosen, ids, use_cache=False))
    assert torch.equal(_generate(chosen, ids, cache_implementation="static"), _generate(chosen, ids))


def test_step_by_step_logits_equal_one_pass(chosen):
    ids = tiny_ids()
    whole = chosen(ids).logits
    start = chosen(ids[:, :4], use_cache=True)
    rest = chosen(ids[:, 4:], past_key_values=start.past_key_values, use_cache=True)
    torch.testing.assert_close(torch.cat([start.logits, rest.logits], 1), whole, atol=1e-4, rtol=1e-4)


def test_left_padding_and_batches_change_nothing(chosen):
    short, long = tiny_ids(1, 4), tiny_ids(1, 7)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), short], 1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1] * 7])
    together = _generate(chosen, torch.cat([padded, long]), mask)[:, 7:]
    alone = torch.cat([_generate(chosen, short)[:, 4:], _generate(chosen, long)[:, 7:]])
    assert torch.equal(together, alone)


def test_logits_to_keep(chosen):
    ids = tiny_ids()
    whole = chosen(ids).logits
    torch.testing.assert_close(chosen(ids, logits_to_keep=2).logits, whole[:, -2:], atol=1e-5, rtol=1e-5)
    at = torch.tensor([0, 3])
    torch.testing.assert_close(chosen(ids, logits_to_keep=at).logits, whole[:, at], atol=1e-5, rtol=1e-5)


def test_shapes_of_outputs(chosen):
    ids = tiny_ids()
    output = chosen(ids, output_hidden_states=True)
    depth = len(output.hidden_states) - 1
    assert depth == {"layer_2": 2, "3_vs_1": 3}.get(chosen.multi_exit_config.get_description(), 4)
    loss, logits = chosen(ids, labels=ids, return_dict=False, use_cache=False)[:2]
    torch.testing.assert_close(logits, output.logits)
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(loss, expected)
    assert chosen(ids).hidden_states is None


def test_ways_of_decoding(chosen):
    ids = tiny_ids(2)
    beams = _generate(chosen, ids, num_beams=3, num_return_sequences=2)
    assert beams.shape == (4, 13)
    assert torch.equal(_generate(chosen, ids[:1], num_beams=3, num_return_sequences=2), beams[:2])
    for sampling in ({"top_k": 5}, {"top_p": 0.9, "top_k": 0}):
        torch.manual_seed(3)
        sampled = _generate(chosen, ids, do_sample=True, num_return_sequences=2, **sampling)
        torch.manual_seed(3)
        assert torch.equal(_generate(chosen, ids, do_sample=True, num_return_sequences=2, **sampling), sampled)
        assert sampled.shape == (4, 13)


def test_positional_arguments(chosen):
    ids = tiny_ids()
    assert torch.equal(chosen(ids).logits, chosen(input_ids=ids).logits)


@pytest.mark.parametrize("mode", MODES)
def test_candidates_equal_full_contrast(mode, monkeypatch):
    model = tiny_model(mode, contrast_layer_indices=("original", 2))
    ids = tiny_ids(8, 20)
    asked = []
    gathered, whole = ModelLowers.logits_at, ModelLowers.logits
    monkeypatch.setattr(ModelLowers, "logits_at", lambda *args: asked.append("some") or gathered(*args))
    monkeypatch.setattr(ModelLowers, "logits", lambda *args: asked.append("all") or whole(*args))
    with torch.no_grad():
        monkeypatch.setattr(ExitHead, "gather_limit", lambda self, rows: len(self.weight))
        few = model(ids).logits
        monkeypatch.setattr(ExitHead, "gather_limit", lambda self, rows: 0)
        full = model(ids).logits
    assert asked == ["some", "all"]
    torch.testing.assert_close(few, full, atol=1e-4, rtol=0)


def test_gathering_stops_where_the_product_costs_less():
    matrix = torch.nn.Linear(4, 50_000, bias=False)
    head = ExitHead(None, matrix)
    assert head.gather_limit(1) > head.gather_limit(8) > head.gather_limit(512) >= 32
    asked = []
    lowers = GivenLogits(upper := torch.zeros(2, 3, 50_000), {2: upper})
    lowers.candidate_limit = lambda exit_, rows: head.gather_limit(rows)
    lowers.logits_at = lambda *args: asked.append(args)
    for method in (Acd(), Acd(minimum_candidates=30_000)):  # flat distributions, and too many candidates asked for
        assert method.evaluate(upper, lowers).shape == upper.shape
    assert not asked


@pytest.mark.parametrize("mode", MODES)
def test_several_exits_at_once_equal_one_by_one(mode):
    model = tiny_model(mode)
    model.set_exits(contrast_layer_indices=("original", None), contrast_function={"name": "dola", "layers": "all"})
    with torch.no_grad():
        _, lowers = model.upper_and_lowers(model.exit_states(tiny_ids(), layers=(1, 2, 3, 4)))
        assert lowers.exits == (1, 2, 3)
        for final_norm in (True, False):
            for exit_, logits in zip(lowers.exits, lowers.all_logits(final_norm), strict=True):
                torch.testing.assert_close(logits, lowers.logits(exit_, final_norm))
            part = lowers.part(3, 9).all_logits(final_norm)
            torch.testing.assert_close(part[1], lowers.logits(2, final_norm).flatten(0, 1)[3:9])
        assert not torch.allclose(lowers.logits(2), lowers.logits(2, final_norm=False))


def test_only_what_is_needed_runs():
    model = tiny_model(MODES[1], exits=(1, 2, 3))
    ran = []
    for name, module in model.named_modules():
        if name.startswith("transformer.h.") and name.count(".") == 2 or "name_to" in name or name == "lm_head":
            module.register_forward_hook(lambda m, i, o, name=name: ran.append((name, o[0].numel())))
    with torch.no_grad():
        model.set_exits(output_layer_index=2)
        cache = model(tiny_ids(), use_cache=True).past_key_values
    names = [name for name, size in ran if size]
    assert names == ["transformer.h.0", "transformer.h.1", "name_to_conv_matrix.2_to_4", "lm_head"]
    assert sum(layer.is_initialized for layer in cache.layers) == 2
    ran.clear()
    with torch.no_grad():
        model.set_exits(contrast_layer_indices=(3, 1))
        model(tiny_ids())
    names = [name for name, size in ran if size]
    assert names[:3] == [f"transformer.h.{i}" for i in range(3)]
    assert set(names[3:]) == {"lm_head", "name_to_conv_matrix.1_to_4", "name_to_conv_matrix.3_to_4"}


def test_exit_states_project_to_the_exits():
    model = tiny_model(MODES[0])
    ids = tiny_ids()
    with torch.no_grad():
        states = model.exit_states(ids, layers=(2, 4))
        assert set(states) == {2, 4}
        torch.testing.assert_close(model.project_exit(states[4], "original"), model(ids).logits)
        model.set_exits(output_layer_index=2)
        torch.testing.assert_close(model.project_exit(states[2], 2), model(ids).logits)
        assert torch.equal(states[2] @ model.exit_head(2).weight.T, model(ids).logits)
    with pytest.raises(ValueError, match="layers 1 to 4"):
        model.exit_states(ids, layers=(5,))


def test_low_precision_contrast_is_float32():
    model = tiny_model(MODES[1], contrast_layer_indices=("original", 2)).to(torch.bfloat16)
    with torch.no_grad():
        logits = model(tiny_ids()).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(3, 7), atol=1e-4, rtol=0)


def test_the_plain_model_is_untouched():
    ids = tiny_ids()
    plain = tiny_plain()
    with torch.no_grad():
        expected = plain(ids).logits
        model = AutoMultiExitModel.from_model(copy.deepcopy(plain), MultiExitConfiguration(MODES[2]))
        assert torch.equal(model(ids).logits, expected)
        assert torch.equal(_generate(model, ids), _generate(plain, ids))
    assert set(model.state_dict()) == set(plain.state_dict())


def test_candidates_are_gathered_in_pieces(monkeypatch):
    head = heads.ExitHead(torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 32))
    states, token_ids = torch.randn(7, 8), torch.randint(32, (7, 5))
    with torch.no_grad():
        whole = head.product_at(states, token_ids)
        monkeypatch.setattr(deciding, "GATHERED", 50)
        torch.testing.assert_close(head.product_at(states, token_ids), whole)
        torch.testing.assert_close(whole, head.product(states).gather(1, token_ids))


@pytest.mark.parametrize("fields", SETTINGS[1:], ids=str)
@torch.no_grad()
def test_exits_in_another_float_type_than_the_trunk(fields):
    model = tiny_model(MODES[1]).bfloat16()
    model.set_exits(**fields)
    expected = model(tiny_ids()).logits
    for parameter in heads.exit_state(model).values():
        parameter.data = parameter.data.float()
    torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=0.2, rtol=0.1)


@pytest.mark.parametrize("fields", SETTINGS[:4], ids=str)
@torch.no_grad()
def test_an_encoder_decoder_gives_the_same_whatever_the_way(fields, reference_folder):
    model = AutoMultiExitModel.from_pretrained(reference_folder / "t5-layer_specific_projection")
    model.set_exits(**{**fields, **({"contrast_layer_indices": (4, 2)} if (3, 1) in fields.values() else {})})
    ids = tiny_ids(2, 6) % 64
    texts = _generate(model, ids)
    assert torch.equal(_generate(model, ids, use_cache=False), texts)
    assert torch.equal(_generate(model, ids, cache_implementation="static"), texts)
    assert torch.equal(torch.cat([_generate(model, row[None]) for row in ids]), texts)
    padding = torch.zeros(2, 3, dtype=torch.long)
    for parts in ((padding, ids), (ids, padding)):  # T5 counts distances: where the source is padded does not matter
        padded = torch.cat(parts, 1)
        mask = torch.cat([torch.ones_like(x) if x is ids else x for x in parts], 1)
        assert torch.equal(_generate(model, padded, mask), texts)
    beams = _generate(model, ids, num_beams=3)
    assert torch.equal(torch.cat([_generate(model, row[None], num_beams=3) for row in ids]), beams)
    loss, logits = model(input_ids=ids, labels=ids, return_dict=False)[:2]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten()))
