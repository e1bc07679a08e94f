import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocontrastive_gen.experiment.settings import Grid, parse_benchmark_setting, parse_setting
from tests.strategies import budget, outcome

DECODERS = ("greedy", "beam", "top-k", "top-p", "top-p-9", "greedy-acd")
CONTRASTS = ("acd", "dola", "mine")


@pytest.mark.parametrize(
    ("name", "decoder", "exit_", "contrast", "lower", "plain"),
    [
        ("greedy", "greedy", None, None, None, "greedy"),
        ("beam-acd", "beam", None, "acd", None, "beam"),
        ("beam-mine", "beam", None, "mine", None, "beam"),
        ("top-k-exit24", "top-k", 24, None, None, "top-k-exit24"),
        ("top-p-exit24-acd12", "top-p", 24, "acd", 12, "top-p-exit24"),
        ("top-p-9-dola", "top-p-9", None, "dola", None, "top-p-9"),
        ("greedy-acd", "greedy-acd", None, None, None, "greedy-acd"),
        ("greedy-acd-acd7", "greedy-acd", None, "acd", 7, "greedy-acd"),
    ],
)
def test_names_of_settings(name, decoder, exit_, contrast, lower, plain):
    setting = parse_setting(name, DECODERS, CONTRASTS)
    assert (setting.decoder, setting.exit, setting.contrast, setting.lower) == (decoder, exit_, contrast, lower)
    assert setting.plain == parse_setting(plain, DECODERS, CONTRASTS)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "greedy-",
        "acd",
        "greedy-exit",
        "beam_acd",
        "beam-acd12-exit24",
        "top-q",
        "beam-acd02",
        "beam-exit0",
        "beam-cd",
    ],
)
def test_other_names_are_refused_with_what_is_allowed(name):
    with pytest.raises(ValueError, match="is not a setting; .*acd, dola, mine"):
        parse_setting(name, DECODERS, CONTRASTS)


def test_lower_must_lie_below_upper():
    with pytest.raises(ValueError, match="below the upper exit 12"):
        parse_setting("greedy-exit12-acd24", DECODERS, CONTRASTS)


@pytest.mark.parametrize(
    ("name", "exit_", "contrast", "lower", "plain"),
    [
        ("original", None, None, None, "original"),
        ("exit12", 12, None, None, "exit12"),
        ("acd", None, "acd", None, "original"),
        ("acd12", None, "acd", 12, "original"),
        ("exit24-acd12", 24, "acd", 12, "exit24"),
        ("exit24-dola", 24, "dola", None, "exit24"),
    ],
)
def test_benchmark_settings(name, exit_, contrast, lower, plain):
    setting = parse_benchmark_setting(name, CONTRASTS)
    assert (setting.decoder, setting.exit, setting.contrast, setting.lower) == (None, exit_, contrast, lower)
    assert setting.plain == parse_benchmark_setting(plain, CONTRASTS)


@pytest.mark.parametrize("name", ["greedy", "", "exit", "acd-exit2", "exit02", "exit2acd1"])
def test_other_benchmark_names_are_refused(name):
    with pytest.raises(ValueError, match="is not a (benchmark )?setting"):
        parse_benchmark_setting(name, CONTRASTS)


LAYER = st.one_of(st.none(), st.integers(1, 99))


@given(st.sampled_from(DECODERS), LAYER, st.sampled_from(CONTRASTS), LAYER)
def test_a_name_that_is_written_is_read_back(decoder, exit_, contrast, lower):
    tail = [f"exit{exit_}"] if exit_ else []
    name = "-".join([decoder, *tail, f"{contrast}{lower or ''}"])
    if exit_ and lower and lower >= exit_:
        with pytest.raises(ValueError, match="must lie below"):
            parse_setting(name, DECODERS, CONTRASTS)
        return
    setting = parse_setting(name, DECODERS, CONTRASTS)
    spelled = "-".join([setting.decoder, *([f"exit{setting.exit}"] if setting.exit else []), *tailed(setting)])
    assert spelled == name


PIECES = st.sampled_from([*DECODERS, *CONTRASTS, "exit", "original", "-", "0", "12", "9" * 5000, "\u0663", " ", "\n"])


@budget(100, 2000, name=st.lists(PIECES | st.text(max_size=2), max_size=6).map("".join))
def test_noise_is_refused_or_means_what_it_spells(name):
    for setting in (
        outcome(lambda: parse_setting(name, DECODERS, CONTRASTS)),
        outcome(lambda: parse_benchmark_setting(name, CONTRASTS)),
    ):
        if not isinstance(setting, Exception):
            exit_, own_head = setting.exit is not None, (setting.decoder, setting.contrast, setting.exit) == (None,) * 3
            parts = [setting.decoder, f"exit{setting.exit}" if exit_ else None, "".join(tailed(setting)) or None]
            assert name == ("original" if own_head else "-".join(filter(None, parts)))


def tailed(setting):
    return [f"{setting.contrast}{setting.lower or ''}"] if setting.contrast else []


def test_the_settings_and_the_contrasts_of_a_run():
    grid = Grid.of(["greedy", "beam-acd7", "beam-mine"], ["original", "dola"], DECODERS, CONTRASTS)
    assert grid.contrasts == ("acd", "mine", "dola")
    assert [setting.name for setting in grid.all] == ["greedy", "beam-acd7", "beam-mine", "original", "dola"]
