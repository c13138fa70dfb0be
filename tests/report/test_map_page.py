"""The map as a page: all is said in words, nothing loaded, and what a person does with it in a browser."""

from html import unescape

import pytest
from browser import Browser, NoBrowser
from checked_page import Checked

from fairway.map.catalogue import load_catalogue
from fairway.map.landscape import Findings
from fairway.report.map_page import map_page, map_policy

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
FOUND = Findings(frozenset({"cpu"}), frozenset({"torch", "onnxruntime"}), frozenset({"ollama"}))
HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_everything_stands_in_the_page_in_words():
    written = unescape(map_page(CATALOGUE, FOUND))
    for kind in (CATALOGUE.tools, CATALOGUE.formats, CATALOGUE.stages):
        for each in kind.values():
            assert each.name in written, each.id
    for lane in CATALOGUE.conversions.values():
        assert lane.how in written
    for each in CATALOGUE.disagreements.values():
        assert each.question in written and each.now in written


def test_nothing_is_loaded_and_no_text_becomes_markup(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(f"[tools.vllm]\nname = '{HOSTILE}'\nwhat = '{HOSTILE}'\n", "utf-8")
    written = map_page(load_catalogue([mine], {"XDG_CONFIG_HOME": "/nonexistent"}), FOUND)
    found = Checked(written)
    assert found.loads == [] and "img" not in found.tags and found.tags.count("script") == 1
    assert "script-src 'sha256-" in unescape(written) and "style=" not in written.replace("stylesheet", "")


def test_the_servers_policy_is_the_pages_and_stricter():
    policy = map_policy()
    assert policy.split("; base-uri")[0] in unescape(map_page(CATALOGUE, None))
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy


def test_without_a_look_around_nothing_is_said_about_the_machine():
    written = map_page(CATALOGUE, None)
    assert "runs here now" not in written and "needs an account" in written


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    try:
        opened = Browser(folder / "browser")
    except NoBrowser as why:
        pytest.skip(str(why))
    (folder / "map.html").write_text(map_page(CATALOGUE, FOUND), "utf-8")
    with opened:
        opened.page = f"file://{folder / 'map.html'}"
        yield opened


@pytest.fixture
def browser(window):
    window.resize(1440, 900)
    window.prefer("light")
    window.go(window.page)
    yield window
    assert window.logged() == []


def lit(browser, kind):
    return set(
        browser.run(f"return [...document.querySelectorAll('.{kind}.lit')].map((each) => each.dataset.id)")
    )


def enabled(browser):
    return set(
        browser.run(
            "return [...document.querySelectorAll('li:not([inert]) > .tool')].map((each) => each.dataset.id)"
        )
    )


def choose(browser, selector, value):
    script = "const e = document.querySelector(arguments[0]); e.value = arguments[1]; "
    browser.run(script + "e.dispatchEvent(new Event('change'))", selector, value)


def test_stages_stand_in_order_from_left_to_right(browser):
    lefts = browser.run(
        "const five = [...document.querySelectorAll('.stage')].slice(0, 5); "
        "return five.map((each) => each.getBoundingClientRect().left)"
    )
    assert lefts == sorted(lefts) and len(set(lefts)) == 5
    assert browser.run("return document.documentElement.scrollWidth") <= 1440


def test_lanes_are_drawn_between_ports(browser):
    drawn = browser.until("return document.querySelectorAll('.lane').length")
    assert drawn == sum(lane.reads != lane.writes for lane in CATALOGUE.conversions.values())
    assert (
        browser.count(".lane.others")
        == sum(lane.by != "fairway" for lane in CATALOGUE.conversions.values()) - 1
    )


def test_focus_lights_a_tools_inputs_and_outputs(browser):
    browser.run("document.querySelector('.tool[data-id=llama-cpp]').focus()")
    assert lit(browser, "tool") == {"llama-cpp"}
    assert lit(browser, "port") == {"gguf", "gguf-lora"}
    assert browser.count(".wire.lit") == 3 and browser.count(".lane.lit") == 0
    browser.run("document.activeElement.blur()")
    assert lit(browser, "port") == set()


def test_a_port_lights_its_lanes_and_everybody_who_touches_it(browser):
    browser.run("document.querySelector('.port[data-id=gguf]').focus()")
    touching = {tool.id for tool in CATALOGUE.tools.values() if "gguf" in (*tool.reads, *tool.writes)}
    assert lit(browser, "tool") == touching
    assert {"safetensors", "onnx", "modelfile"} <= lit(browser, "port")


def test_choosing_says_what_it_is_until_escape(browser):
    browser.click(".tool[data-id=vllm]")
    text = browser.text("#detail")
    assert "vLLM" in text and "reads" in text and "its protocol" in text and "article 4" in text
    assert "How much faster is vLLM?" in text
    assert (
        browser.run("return document.querySelector('.tool[data-id=vllm]').getAttribute('aria-pressed')")
        == "true"
    )
    browser.press("escape")
    assert browser.run("return document.querySelector('#detail').hidden")


def test_the_panel_never_lies_over_what_was_chosen(browser):
    for tool in ("pytorch", "vllm", "llama-cpp"):
        browser.run(f"document.querySelector('.tool[data-id={tool}]').click()")
        over = browser.run(
            "const a = document.querySelector('#detail').getBoundingClientRect(), "
            f"b = document.querySelector('.tool[data-id={tool}]').getBoundingClientRect(); "
            "return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom"
        )
        assert not over, tool


def test_search_leaves_what_fits(browser):
    browser.type("#search", "radix")
    assert "radix-attention" in enabled(browser) and "pytorch" not in enabled(browser)
    assert browser.text("#count") == f"{len(enabled(browser))} of {len(CATALOGUE.tools)} tools"
    browser.press("escape")
    assert len(enabled(browser)) == len(CATALOGUE.tools)


def test_a_role_sees_its_own_and_may_ask_what_to_ignore(browser):
    assert browser.run("return document.querySelector('#ignore').disabled")
    choose(browser, "#role", "infra")
    assert enabled(browser) == {tool.id for tool in CATALOGUE.tools.values() if "infra" in tool.roles}
    browser.click("#ignore")
    assert enabled(browser) == {tool.id for tool in CATALOGUE.tools.values() if "infra" not in tool.roles}
    assert "The mathematics of training" in browser.text("#leaves")
    choose(browser, "#role", "")
    assert len(enabled(browser)) == len(CATALOGUE.tools)


def test_what_runs_here_is_one_click(browser):
    browser.click("[data-state=ready]")
    assert {"fairway", "pytorch", "onnx-runtime", "ollama", "paged-attention"} <= enabled(browser)
    assert not {"vllm", "modal", "tensorrt"} & enabled(browser)


def test_by_keyboard_alone(browser):
    """Tab goes from stage to stage, arrows within, Enter chooses, Escape lets go."""
    browser.run("document.querySelector('.stage.train .tool').focus()")
    browser.press("tab")
    assert browser.run("return document.activeElement.closest('.stage').dataset.stage") == "tune"
    press = "const key = new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}); "
    press += "document.activeElement.dispatchEvent(key)"
    before = browser.run("return document.activeElement.dataset.id")
    browser.run(press, "ArrowDown")
    after = browser.run("return document.activeElement.dataset.id")
    assert after != before and CATALOGUE.tools[after].stage == "tune"
    browser.run(press, "ArrowRight")
    assert browser.run("return document.activeElement.closest('.stage').dataset.stage") == "package"
    browser.press("enter")
    assert not browser.run("return document.querySelector('#detail').hidden")
    assert browser.count("[tabindex='0']") == len(CATALOGUE.stages)


def test_for_readers_of_the_accessibility_tree(browser):
    tree = browser.command("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]
    }
    assert ("button", "PyTorch (runs here now)") in named
    assert ("button", "NVIDIA TensorRT (needs other hardware)") in named
    assert ("searchbox", "Find on the map") in named and ("list", "Formats that go both ways") in named
    assert any(role == "region" and "Fine-tune" in name for role, name in named)
    assert not any(role == "button" and not name for role, name in named)


@pytest.mark.parametrize(("width", "mobile"), [(390, True), (768, False), (1024, False)])
def test_narrow_screens_scroll_down_only(browser, width, mobile):
    browser.resize(width, 844, mobile=mobile)
    browser.go(browser.page)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    smallest = browser.run(
        "const tools = [...document.querySelectorAll('.tool')]; "
        "return Math.min(...tools.map((each) => each.getBoundingClientRect().height))"
    )
    assert smallest >= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_can_be_read_on_their_ground(browser, scheme):
    browser.prefer(scheme)
    browser.go(browser.page)
    ratios = browser.run(CONTRAST)
    assert len(ratios) > 100
    assert {name: round(ratio, 2) for name, ratio in ratios if ratio < 4.5} == {}


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
function rgb(colour) {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function light(colour) {
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb(colour).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
return [...document.querySelectorAll('.tool, .port, .owners')].map((each) => {
  const style = getComputedStyle(each);
  const ground = each.matches('.owners') ? getComputedStyle(each.parentElement) : style;
  const [a, b] = [light(style.color), light(ground.backgroundColor)].sort((x, y) => y - x);
  return [each.textContent, (a + 0.05) / (b + 0.05)];
});
"""
