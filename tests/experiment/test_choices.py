"""Combinations of the values that are left to a choice."""

from autocontrastive_gen.experiment.choices import choice_faults, choices_of, combinations, count


def test_every_value_meets_every_other_in_the_order_of_the_values():
    choose = {"alpha": [0.1, 0.3], "layers": ["low", [15, 20]]}
    found = list(combinations(choose))
    assert found == [
        {"alpha": 0.1, "layers": "low"},
        {"alpha": 0.1, "layers": [15, 20]},
        {"alpha": 0.3, "layers": "low"},
        {"alpha": 0.3, "layers": [15, 20]},
    ]
    assert len(found) == count(choose)


def test_nothing_to_choose_is_one_combination():
    assert list(combinations({})) == [{}] and count({}) == 1


def test_values_of_another_form_are_left_to_the_schema():
    assert choices_of({"method": "acd", "choose": "alpha"}) == choices_of({"choose": {"alpha": 0.1, 2: [1, 2]}}) == {}
    assert list(choice_faults("contrasts.acd", {"method": "acd", "choose": {"alpha": 0.1}})) == []
