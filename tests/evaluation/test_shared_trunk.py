"""Many settings of one model in lm-eval, with one pass through the trunk."""

import pytest
from lm_eval.api.instance import Instance
from transformers import AutoTokenizer

from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.evaluation.lm_eval_harness.shared_trunk import SharedTrunkLM
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

PAIRS = [
    ("The road from Holkeswick follows", " the Torhol to the clock"),
    ("Since then", " the lantern"),
    ("In winter the people of Holkeswick sell", " wool"),
    ("wool", " wool wool wool"),
]
CONTRASTED = {
    ("original", 2): {"name": "acd"},
    (4, 2): {"name": "acd", "alpha": 0.3},
    ("original", None): {"name": "sled", "layers": "all"},
}
SETTINGS = [
    {"use_original_head": True},
    {"use_original_head": False, "output_layer_index": 4},
    *(
        {"use_original_head": False, "contrast_layer_indices": layers, "contrast_function": function}
        for layers, function in CONTRASTED.items()
    ),
]


def scored(lm) -> list[tuple[float, bool]]:
    return lm.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)])


def test_every_setting_scores_as_on_its_own_and_the_trunk_runs_once_per_batch(smoke_model_folder):
    exits = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (2, 4))
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=exits).eval()
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    shared, passes = SharedTrunkLM(model, tokenizer, batch_size=2), []
    model.transformer.register_forward_hook(lambda *_: passes.append(1))
    for setting in SETTINGS:
        with model.set_exits(**setting):
            found = scored(shared)
            assert len(passes) == 2, "two batches of two requests, whatever the number of settings"
            own = scored(MultiExitLM(pretrained=model, tokenizer=tokenizer, batch_size=2))
            del passes[2:]
        assert [greedy for _, greedy in found] == [greedy for _, greedy in own]
        assert [value for value, _ in found] == pytest.approx([value for value, _ in own], abs=1e-4)
