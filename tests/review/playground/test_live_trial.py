"""The events of a trial, against the library's own texts and annotations."""

import asyncio
import threading

import pytest
from play_trial import ACD, TRIAL

from autocontrastive_gen.evaluation.metrics.coherence import coherence
from autocontrastive_gen.evaluation.metrics.diversity import diversity
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.trial import Trial
from autocontrastive_gen.review.playground.live_text import FEWEST_WORDS
from autocontrastive_gen.review.playground.live_trial import MOST_TRIALS, LiveTrials


def final(events, number):
    """Tokens and pieces of a setting once every revision has come."""
    tokens, pieces = [], []
    for event in events:
        if event.get("setting") == number and "pieces" in event:
            tokens[event["at"] :], pieces[event["at"] :] = event["tokens"], event["pieces"]
    return tokens, pieces


def of(events, number, key):
    return [event[key] for event in events if event.get("setting") == number and key in event]


@pytest.mark.parametrize("method", ["greedy", "beam", "contrastive-search"])
def test_the_texts_are_those_of_the_library(run_trial, subject, method):
    settings = [{}, {"decoder": {"method": method}, "exits": ACD}]
    events = run_trial(settings=settings)
    rows = Trial.read({**TRIAL, "settings": settings}).texts(subject.model, subject.tokenizer)
    for number, row in enumerate(rows):
        assert final(events, number) == (row["tokens"], row["pieces"])
        assert of(events, number, "done") == [True]


def test_the_marks_are_those_of_annotate(run_trial, subject):
    trial = Trial.read(TRIAL)
    events = run_trial()
    own = trial.settings[1].of(subject.model)
    (row,) = annotate(own, subject.tokenizer, trial.texts(subject.model, subject.tokenizer)[1:2], 1)
    found = [tuple(change) for changes in of(events, 1, "changed") for change in changes]
    assert found == [(note["position"], note["upper"]) for note in row["changed"]] and found
    assert of(events, 0, "changed") == []


def test_metrics_grow_with_the_text(run_trial, subject):
    events = run_trial(new_tokens=60)
    rows = Trial.read({**TRIAL, "new_tokens": 60}).texts(subject.model, subject.tokenizer)
    for number, row in enumerate(rows):
        growth = of(events, number, "growth")
        assert [each["tokens"] for each in growth] == [8, 16, 24, 32, 40, 48, 56, 60]
        for each in growth:
            text = "".join(row["pieces"][: each["tokens"]])
            expected = coherence(subject.encoder, [TRIAL["prompt"]], [text])[0]
            assert each["coherence"] == pytest.approx(expected, abs=1e-3)
            assert ("diversity" in each) == (len(text.split()) >= FEWEST_WORDS)
        assert growth[-1]["diversity"] == pytest.approx(diversity([row["continuation"]]), abs=1e-4)


def test_pace_is_measured_against_plain_decoding(run_trial):
    events = run_trial()
    assert events[0] == {"plain": 0}
    assert all(of(events, number, "pace")[-1] > 0 for number in range(3))
    events = run_trial(settings=[{"exits": ACD}])
    assert events[0] == {"plain": None}
    assert of(events, None, "pace") and not of(events, None, "pieces"), "its text is not shown"


def test_texts_grow_side_by_side(run_trial):
    order = [event["setting"] for event in run_trial(settings=[{}, {"exits": ACD}]) if "pieces" in event]
    assert {0, 1} == set(order[:4]), "the second does not wait for the end of the first"


def test_a_setting_that_fails_leaves_the_others_alone(run_trial, subject, monkeypatch):
    def refuse(self, *arguments, **options):
        raise InputError("not with this model")

    monkeypatch.setattr("autocontrastive_gen.generation.decoders.contrastive_search.ContrastiveSearch.search", refuse)
    events = run_trial(settings=[{}, {"decoder": {"method": "contrastive-search"}}])
    assert of(events, 1, "error") == ["not with this model"]
    assert len(final(events, 0)[0]) == 20


def test_trials_do_not_see_each_other(subject):
    """Two at once, with different settings, give what each gives alone; the model keeps its own setting."""
    trials = LiveTrials(subject)
    one, other = (Trial.read({**TRIAL, "settings": settings}) for settings in ([{}, {"exits": ACD}], [{"exits": ACD}]))

    async def both():
        async def events(trial):
            return [event async for event in trials.events(trial, trials.admit(trial))]

        return await asyncio.gather(events(one), events(other))

    for trial, events in zip((one, other), asyncio.run(both()), strict=True):
        rows = trial.texts(subject.model, subject.tokenizer)
        assert [final(events, i)[0] for i in range(len(rows))] == [row["tokens"] for row in rows]
    assert subject.model.active_exits.method is None and trials.running == 0


def test_a_reader_who_leaves_stops_the_texts(subject):
    trials, trial = LiveTrials(subject), Trial.read({**TRIAL, "new_tokens": 200})

    async def leave():
        events = trials.events(trial, trials.admit(trial))
        async for event in events:
            if "pieces" in event:
                break
        assert trials.running == 1
        await events.aclose()

    before = threading.active_count()
    asyncio.run(leave())
    assert trials.running == 0
    trials.wait(20)
    assert threading.active_count() <= before


def test_all_texts_can_be_stopped_and_their_streams_end(subject):
    trials, trial = LiveTrials(subject), Trial.read({**TRIAL, "new_tokens": 200})

    async def follow():
        events = []
        async for event in trials.events(trial, trials.admit(trial)):
            events.append(event)
            if "pieces" in event:
                trials.stop()
        return events

    events = asyncio.run(follow())
    assert all(of(events, number, "done") == [True] for number in range(3))
    assert len(final(events, 0)[0]) < 200


def test_too_many_at_once_are_refused(subject):
    trials = LiveTrials(subject, running=MOST_TRIALS)
    with pytest.raises(InputError, match=f"{MOST_TRIALS} trials are running"):
        trials.admit(Trial.read(TRIAL))
