"""The playground in headless Chromium, as a reader uses it."""

from __future__ import annotations

import json
import time

import pytest
from chromium import Page

from autocontrastive_gen.generation.trial import Trial

pytestmark = pytest.mark.slow

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
RAN = "!document.getElementById('go').disabled && document.querySelector('.t')"


@pytest.fixture
def visit(chromium, served, tmp_path):
    """Opens the page in a browser of its own."""
    pages = []

    def open_page(fragment="", size="desktop", **options):
        page = Page(chromium, tmp_path / f"profile{len(pages)}", f"{served}/{fragment}", *SIZES[size], **options)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()


def run_trial(page, tokens=16):
    page.run(f"document.getElementById('new-tokens').value = {tokens}; document.getElementById('go').click()")
    page.until(RAN)


def texts(page):
    return page.run("[...document.querySelectorAll('.text')].map((it) => it.textContent)")


def choose(page, selector, value):
    page.run(
        f"(() => {{ const it = document.querySelector({json.dumps(selector)}); it.value = {json.dumps(value)};"
        "it.dispatchEvent(new Event('input', {bubbles: true})); it.dispatchEvent(new Event('change', {bubbles: true}));"
        "})()"
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_reader_compares_texts_and_asks_what_layers_wanted(visit, size, dark):
    page = visit(size=size, dark=dark)
    assert page.run("document.querySelectorAll('.column').length") == 2
    run_trial(page, 24)
    plain, contrasted = texts(page)
    assert plain and contrasted and plain != contrasted
    assert page.run("document.querySelectorAll('.column')[0].querySelectorAll('.changed').length") == 0
    assert page.run("document.querySelectorAll('.column')[1].querySelectorAll('.changed').length") > 0
    numbers = page.run("[...document.querySelectorAll('.stat:not([hidden]) b')].map((it) => it.textContent)")
    assert "plain" in numbers and any(number.endswith("× plain") for number in numbers) and "–" not in numbers[2:4]
    page.run("document.querySelectorAll('.column')[1].querySelector('.changed').click()")
    page.until("document.querySelectorAll('#layers .row').length === 7")
    assert page.run("document.querySelector('#layers .name').textContent") == "this setting"
    assert page.run("document.querySelectorAll('#layers .row .choice.came').length") > 0
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "the page does not scroll sideways"
    colour = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert (page.run(colour) < 60) == dark
    page.run("document.getElementById('theme').click()")
    assert (page.run(colour) < 60) != dark
    assert page.complaints == []


def test_the_address_is_the_trial(visit):
    page = visit()
    choose(page, "#prompt", "wool <b>&</b> “hail” 🌊")
    choose(page, ".column:nth-child(2) .alpha, .column:nth-child(2) [data-name=alpha]", "0.3")
    choose(page, ".column:nth-child(2) [data-name=temperature]", "2")
    choose(page, ".column:nth-child(1) .decoder", "top-p")
    run_trial(page)
    fragment = page.run("location.hash")
    other = visit(fragment)
    assert other.run("document.getElementById('prompt').value") == "wool <b>&</b> “hail” 🌊"
    assert other.run("document.querySelectorAll('.column .decoder')[0].value") == "top-p"
    assert texts(other) == ["Nothing yet."] * 2, "a link runs nothing before the reader asks for it"
    run_trial(other)
    assert texts(other) == texts(page)
    assert other.run("location.hash") == fragment
    assert page.complaints == other.complaints == []


def test_a_trial_is_saved_and_opened_again(visit, subject, tmp_path):
    page = visit()
    page.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    choose(page, "#prompt", "wool “hail”")
    choose(page, ".column:nth-child(2) [data-name=alpha]", "0.3")
    run_trial(page)
    page.run("document.getElementById('save').click()")
    file = tmp_path / "trial.json"
    until = time.monotonic() + 30
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.1)
    rows = Trial.read(json.loads(file.read_text())).texts(subject.model, subject.tokenizer)
    assert [row["continuation"] for row in rows] == texts(page), "the library makes the texts of the page"
    other = visit()
    found = other.ask("Runtime.evaluate", expression="document.getElementById('open')")["result"]["objectId"]
    other.ask("DOM.setFileInputFiles", files=[str(file)], objectId=found)
    other.until("document.getElementById('prompt').value === 'wool “hail”'")
    run_trial(other)
    assert texts(other) == texts(page)
    assert page.complaints == other.complaints == []


def test_two_tabs_have_settings_of_their_own(visit):
    one, other = visit(), visit()
    choose(one, ".column:nth-child(2) [data-name=alpha]", "0.9")
    choose(other, ".column:nth-child(2) [data-name=alpha]", "0.001")
    for page in (one, other):
        page.run("document.getElementById('new-tokens').value = 24; document.getElementById('go').click()")
    for page in (one, other):
        page.until(RAN)
    together = texts(one), texts(other)
    run_trial(one, 24)
    run_trial(other, 24)
    assert (texts(one), texts(other)) == together
    assert together[0][0] == together[1][0] and together[0][1] != together[1][1]


def test_keys_move_between_tokens_and_open_the_layers(visit):
    page = visit()
    run_trial(page)
    page.run("document.querySelectorAll('.text')[1].focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
        page.ask("Input.dispatchKeyEvent", type="keyDown", key=key)
        page.ask("Input.dispatchKeyEvent", type="keyUp", key=key)
    page.until("!document.getElementById('layers').hidden")
    assert page.run("document.querySelector('.where').textContent").startswith("Token 1 of greedy-acd5 is")
    page.ask("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    assert page.run("document.getElementById('layers').hidden")
    assert page.run("document.activeElement === document.querySelectorAll('.text')[1]")


def test_refusals_are_shown_and_mended(visit):
    page = visit("#not-a-trial")
    assert "damaged" in page.run("document.getElementById('message').textContent")
    choose(page, "#prompt", "wool " * 600)
    page.run("document.getElementById('go').click()")
    page.until("document.getElementById('message').textContent.includes('exceed the model')")
    choose(page, "#prompt", "wool")
    run_trial(page)
    assert page.run("document.getElementById('message').hidden")


def test_settings_are_added_and_removed_and_texts_stopped(visit):
    page = visit()
    count = "document.querySelectorAll('.column').length"
    for _ in range(3):
        page.run("document.getElementById('add').click()")
    assert page.run(count) == 4 and page.run("document.getElementById('add').disabled")
    for _ in range(3):
        page.run("document.querySelector('.remove:not([disabled])')?.click()")
    assert page.run(count) == 2
    page.run("document.getElementById('new-tokens').value = 120; document.getElementById('go').click()")
    page.until("document.querySelector('.t')")
    page.run("document.getElementById('stop').click()")
    page.until(RAN)
    assert page.run("document.querySelectorAll('.t').length") < 240
    run_trial(page, 5)
    assert page.run("document.querySelectorAll('.t').length") == 10


def test_the_real_model_loops_alone_and_not_with_contrast(chromium, served_run, tmp_path):
    with Page(chromium, tmp_path / "profile", f"{served_run}/") as page:
        assert page.run("[...document.querySelectorAll('h2')].map((it) => it.textContent)") == ["greedy", "greedy-acd"]
        page.run("document.getElementById('new-tokens').value = 64; document.getElementById('go').click()")
        page.until(RAN, seconds=240)
        numbers = page.run("[...document.querySelectorAll('.diversity b, .coherence b')].map((it) => it.textContent)")
        plain, plain_coherence, contrasted, coherence = map(float, numbers)
        assert plain < contrasted and min(plain_coherence, coherence) > 0
        page.run("document.querySelectorAll('.column')[1].querySelector('.changed').click()")
        page.until("document.querySelectorAll('#layers .row').length === 6")  # the setting, the last layer, four exits
        assert page.complaints == []
