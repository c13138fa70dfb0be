"""The chat page in a real browser: what a person does, and what they see."""

import httpx
import pytest
from raw_http import eventually
from scripted_runtime import ScriptedRuntime
from serving import serving
from stack import make_runtime

from fairway.console.pages import console_pages
from fairway.errors import Busy
from fairway.runtimes.protocol import Delta, ModelInfo, Usage

ANSWER = (
    "Hello <b>you</b> & <script>alert(1)</script>\n\n```python\nprint('hi')  # <i>\n```\n\n"
    "- one `code`\n- **two**\n\n# Done\n\nThe end."
)
INFO = ModelInfo("scripted", "/", "llama", 8_300_000, "int8", 9, 1024, 258, "native", 1)


def pieces(text, pause_s=0.03):
    words = text.split(" ")
    for at, word in enumerate(words):
        yield pause_s
        yield Delta(text=word + " " * (at + 1 < len(words)), token_ids=(1,))
    yield Delta(finish_reason="stop", usage=Usage(9, len(words), 4))


class Steps:
    """Steps that can be taken again for each request."""

    def __init__(self, make):
        self._make = make

    def __iter__(self):
        return iter(self._make())


@pytest.fixture(scope="module")
def site():
    """`scripted` gives a known answer, `endless` letters until it is stopped."""
    scripted = ScriptedRuntime(Steps(lambda: pieces(ANSWER)), info=INFO)
    endless = make_runtime("org/endless", step_latency_s=0.01)
    with serving(scripted, endless, pages=console_pages()) as server:
        server.scripted, server.endless = scripted, endless
        yield server


@pytest.fixture
def page(browser, site):
    browser.go(site.url)
    browser.run("localStorage.clear(); sessionStorage.clear()")
    browser.go(site.url)
    browser.until("return !document.getElementById('model').disabled")
    return browser


def send(page, text):
    page.type("#prompt", text)
    page.press("enter")


def wait_for_end(page):
    page.until("return document.querySelector('.message') && !document.querySelector('[aria-busy]')")


def choose(page, model):
    page.run(
        "const select = document.getElementById('model'); select.value = arguments[0];"
        "select.dispatchEvent(new Event('change'))",
        model,
    )


def test_a_message_gets_a_streamed_answer_with_its_speed(page):
    send(page, "Hello!")
    page.until("return document.querySelector('[aria-busy=true] .text')?.innerText.length > 3")
    wait_for_end(page)
    assert page.text(".user .text") == "Hello!"
    assert "tokens/s" in page.text(".meta .rate")
    assert page.text(".meta .first").startswith("first after 0.")
    assert page.text(".meta .count") == f"{len(ANSWER.split(' '))} tokens"
    assert page.text("#status") == "The answer is complete."
    assert page.run("return document.activeElement.id") == "prompt"


def test_text_is_text_and_code_is_a_block(page):
    send(page, "<img src=x onerror=alert(1)>")
    wait_for_end(page)
    assert page.text(".user .text") == "<img src=x onerror=alert(1)>"
    assert page.text(".assistant .text p") == "Hello <b>you</b> & <script>alert(1)</script>"
    assert page.text(".assistant .block pre") == "print('hi')  # <i>"
    assert page.text(".assistant .block header span") == "python"
    assert page.run("return [...document.querySelectorAll('.assistant li')].map(e => e.innerText)") == [
        "one code",
        "two",
    ]
    assert page.text(".assistant h3") == "Done"
    assert page.count(".text b, .text img, .text script, .text i") == 0


def test_the_whole_conversation_is_sent(page, site):
    send(page, "first")
    wait_for_end(page)
    send(page, "second")
    page.until("return document.querySelectorAll('.assistant .count').length === 2")
    prompt = bytes(site.scripted.requests[-1].prompt_ids[1:]).decode()
    assert "first" in prompt
    assert "The end." in prompt
    assert prompt.index("first") < prompt.index("The end.") < prompt.index("second")


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_keeps_the_text_and_stops_the_engine(page, site, how):
    choose(page, "org/endless")
    send(page, "go on")
    page.until("return document.querySelector('.assistant .text')?.innerText.length > 20")
    if how == "button":
        page.click("#stop")
    else:
        page.press("escape")
    wait_for_end(page)
    assert "stopped" in page.text(".meta")
    assert len(page.text(".assistant .text")) > 20
    assert page.text("#status") == "Stopped."
    eventually(lambda: site.endless.stats().num_running == 0)


def test_shift_enter_is_a_new_line_and_nothing_empty_is_sent(page):
    page.press("enter")
    assert page.count(".message") == 0
    page.type("#prompt", "one")
    page.press("shift", "enter")
    page.type("#prompt", "two")
    assert page.run("return document.getElementById('prompt').value") == "one\ntwo"
    assert page.count(".message") == 0
    page.press("enter")
    wait_for_end(page)
    assert page.text(".user .text") == "one\ntwo"


def test_settings_are_sent_and_persist(page, site):
    page.click("#open-settings")
    page.type("#system", "Be brief.")
    page.type("#seed", "7")
    page.type("#max_tokens", "33")
    page.run(
        "for (const [name, value] of [['temperature', '0.3'], ['top_p', '0.5']]) {"
        "const field = document.getElementById(name); field.value = value;"
        "field.dispatchEvent(new Event('input')) }"
    )
    assert page.text("output[for=temperature]") == "0.30"
    page.press("escape")
    choose(page, "org/endless")
    page.go(site.url)
    page.until("return !document.getElementById('model').disabled")
    assert page.run("return document.getElementById('model').value") == "org/endless"
    assert page.run("return document.getElementById('system').value") == "Be brief."
    choose(page, "scripted")
    send(page, "x")
    wait_for_end(page)
    request = site.scripted.requests[-1]
    sampling = request.sampling
    assert (sampling.seed, sampling.max_tokens, sampling.temperature, sampling.top_p) == (7, 33, 0.3, 0.5)
    assert "Be brief." in bytes(request.prompt_ids[1:]).decode()
    page.click("#open-settings")
    page.click("#reset")
    assert page.run("return Object.keys(JSON.parse(localStorage['fairway.settings']))") == ["model"]
    page.press("escape")


def test_the_model_picker_lists_what_is_served_and_describes_it(page):
    names = page.run("return [...document.querySelectorAll('#model option')].map(each => each.value)")
    assert names == ["scripted", "org/endless"]
    assert page.text("#about") == "8.3 M parameters · int8 · 1,024 tokens of context"
    choose(page, "org/endless")
    assert "258 parameters" in page.text("#about")


def test_clear_and_try_again_and_reload(page, site):
    send(page, "one")
    wait_for_end(page)
    asked = len(site.scripted.requests)
    page.click(".again")
    page.until("return document.querySelector('.assistant .count')")
    assert len(site.scripted.requests) == asked + 1
    assert page.count(".message") == 2
    page.go(site.url)
    page.until("return document.querySelectorAll('.message').length === 2")
    page.click("#new-chat")
    assert page.count(".message") == 0
    assert page.run("return !document.getElementById('welcome').hidden")


def test_an_idea_begins_the_conversation(page):
    page.click("#ideas button")
    wait_for_end(page)
    assert page.text(".user .text").startswith("Tell me a short story")


def test_copy_copies_the_whole_answer(page, site):
    page.command(
        "Browser.grantPermissions",
        origin=site.url,
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
    )
    send(page, "x")
    wait_for_end(page)
    page.click(".copy")
    page.until("return document.querySelector('.copy').innerText === 'Copied'")
    page.run("window.copied = null; navigator.clipboard.readText().then((text) => (window.copied = text))")
    assert page.until("return window.copied") == ANSWER


def test_an_error_is_shown_as_a_sentence_and_can_be_tried_again(browser):
    def refuse(request):
        raise Busy("The queue is full.", retry_after_s=9)

    runtime = ScriptedRuntime(Steps(lambda: pieces("well")), refuse=refuse, info=INFO)
    with serving(runtime, pages=console_pages()) as server:
        browser.go(server.url)
        browser.until("return !document.getElementById('model').disabled")
        send(browser, "x")
        browser.until("return document.querySelector('.failure')")
        assert browser.text(".failure") == "The queue is full."
        runtime.refuse = lambda request: None
        browser.click(".again")
        browser.until("return document.querySelector('.assistant .text')?.innerText === 'well'")
        # Chromium itself reports the 503.
        assert all("503" in each for each in browser.logged())


def test_a_key_is_asked_for_and_used(browser):
    runtime = ScriptedRuntime(Steps(lambda: pieces("well")), info=INFO)
    with serving(runtime, pages=console_pages(), api_keys=("secret",)) as server:
        browser.go(server.url)
        browser.until("return document.getElementById('key-dialog').open")
        browser.type("#key", "wrong")
        browser.press("enter")
        browser.until("return document.getElementById('key-error').innerText")
        browser.type("#key", "secret")
        browser.press("enter")
        browser.until("return !document.getElementById('model').disabled")
        send(browser, "x")
        browser.until("return document.querySelector('.assistant .text')?.innerText === 'well'")
        assert "secret" not in browser.run("return JSON.stringify(localStorage)")
        assert all("401" in each for each in browser.logged())


def test_themes_follow_the_system_or_the_choice(page):
    def ground():
        return page.run("return getComputedStyle(document.body).backgroundColor")

    light = ground()
    page.prefer("dark")
    dark = ground()
    assert light != dark
    page.click("#theme")
    assert ground() == light
    page.click("#theme")
    page.prefer("light")
    assert ground() == dark


def test_on_a_phone_everything_fits_and_works(page, site):
    page.resize(390, 844, mobile=True)
    page.go(site.url)
    page.until("return !document.getElementById('model').disabled")
    send(page, "on the go")
    wait_for_end(page)
    assert page.run("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    boxes = page.run(
        "return ['#send', '#model', '#open-settings', '#new-chat', '#prompt'].map((id) => {"
        "const box = document.querySelector(id).getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom, box.height] })"
    )
    for left, top, right, bottom, height in boxes:
        assert left >= 0
        assert top >= 0
        assert right <= 390
        assert bottom <= 844
        assert height >= 32
    page.click("#open-settings")
    page.until("return document.getElementById('settings').getBoundingClientRect().width === 390")
    page.press("escape")


def test_every_control_has_a_name(page):
    page.click("#open-settings")
    unnamed = page.run(
        "return [...document.querySelectorAll('button, select, input, textarea, a')].filter((each) =>"
        "!(each.getAttribute('aria-label') || each.innerText.trim() || each.labels?.length"
        "|| each.closest('[hidden]'))).map((each) => each.outerHTML)"
    )
    assert unnamed == []
    page.press("escape")


def test_the_api_page_describes_every_operation(page, site):
    page.go(site.url + "/docs")
    page.until("return document.querySelectorAll('.operation').length > 0")
    document = httpx.get(site.url + "/openapi.json").json()
    assert page.count(".operation") == sum(len(item) for item in document["paths"].values())
    assert "temperature" in page.text("#chat_completions")
    assert "curl " + site.url in page.text("#chat_completions .block pre")
    assert '-F file="@examples.jsonl"' in page.text("#upload_file .block pre")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
