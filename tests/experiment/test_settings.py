import pytest

from autocontrastive_gen.experiment.settings import all_settings, parse_benchmark_setting, parse_setting


@pytest.mark.parametrize(
    ("name", "decode", "exit_", "contrast", "lower", "plain"),
    [
        ("greedy", "greedy", None, False, None, "greedy"),
        ("beam-acd", "beam", None, True, None, "beam"),
        ("top-k-exit24", "top-k", 24, False, None, "top-k-exit24"),
        ("top-p-exit24-acd12", "top-p", 24, True, 12, "top-p-exit24"),
    ],
)
def test_names_of_settings(name, decode, exit_, contrast, lower, plain):
    setting = parse_setting(name)
    assert (setting.decode, setting.exit, setting.contrast, setting.lower) == (decode, exit_, contrast, lower)
    assert setting.plain.name == plain


@pytest.mark.parametrize("name", ["", "greedy-", "acd", "greedy-exit", "greedy_acd", "greedy-acd12-exit24", "top-q"])
def test_other_names_are_refused_with_the_grammar(name):
    with pytest.raises(ValueError, match="allowed: <decode>"):
        parse_setting(name)


def test_lower_must_lie_below_upper():
    with pytest.raises(ValueError, match="below the upper exit 12"):
        parse_setting("greedy-exit12-acd24")


def test_benchmark_settings():
    assert parse_benchmark_setting("exit12").exit == 12
    assert parse_benchmark_setting("acd12").lower == 12
    assert parse_benchmark_setting("acd").contrast and not parse_benchmark_setting("original").contrast
    with pytest.raises(ValueError):
        parse_benchmark_setting("greedy")


def test_all_settings_are_distinct_and_in_the_grammar():
    names = [setting.name for setting in all_settings((2, 4))]
    assert len(names) == len(set(names))
    assert {"greedy", "beam-acd2", "top-k-exit4-acd", "top-p-exit4-acd2", "original", "acd", "acd4", "exit2"} <= set(
        names
    )
    assert "greedy-exit2-acd4" not in names
