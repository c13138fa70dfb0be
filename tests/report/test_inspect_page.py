"""The page of a model file: every tensor once, the graph of every family, search and keys in a browser."""

from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from browser import Browser, NoBrowser
from checked_page import Checked
from model_cases import CASES
from tiny_models import golden, memory_bundle

from fairway.formats.open import open_bundle
from fairway.models.names import stored_names
from fairway.registry.resolve import BUILTIN_FOLDER
from fairway.report.inspect_page import inspect_page
from fairway.report.structure import REST, structure_of
from fairway.tensors import DenseTensor

NAME = "</script><img src=x onerror=alert(1)>"


def names(stages):
    return [info.name for stage in stages for info in stage.tensors]


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_of_every_family_stands_in_one_stage_with_its_node(name):
    bundle = golden(name).bundle
    stages = structure_of(bundle)
    assert sorted(names(stages)) == sorted(bundle.tensors.infos)
    assert stages[0].name == "embedding" and (stages[-1].name == REST) == (name == "gemma3-multimodal")
    rest = [info for stage in stages if stage.name == REST for info in stage.tensors]
    nodes = [node for s in stages for block in s.blocks for row in block.rows for node in row]
    drawn = {tensor for node in nodes for tensor in node.tensors}
    assert drawn == set(stored_names(bundle.tensors.infos)) - {info.name for info in rest}
    assert all(sum(block.adds for block in s.blocks) == 2 for s in stages if s.name.startswith("layer"))
    Checked(inspect_page(bundle))


def test_rows_of_a_plain_layer():
    layer = structure_of(open_bundle(BUILTIN_FOLDER))[1]
    rows = [[node.name for node in row] for block in layer.blocks for row in block.rows]
    assert rows == [
        ["input_layernorm"], ["q_proj", "k_proj", "v_proj"], ["rope"], ["attention"], ["o_proj"],
        ["post_attention_layernorm"], ["gate_proj", "up_proj"], ["gate"], ["down_proj"],
    ]  # fmt: skip
    assert layer.num_bytes == sum(info.num_bytes for info in layer.tensors)


def test_a_file_of_an_unknown_family_is_grouped_by_its_names():
    one = DenseTensor("f32", np.zeros((2, 3), np.float32))
    tensors = dict.fromkeys(
        ("stem.weight", "encoder.layers.0.a", "encoder.layers.0.b", "encoder.layers.1.a"), one
    )
    stages = structure_of(memory_bundle({"model_type": "mystery"}, tensors))
    assert [stage.name for stage in stages] == ["stem", "encoder.layers 0", "encoder.layers 1"]
    assert sorted(names(stages)) == sorted(tensors)
    Checked(inspect_page(memory_bundle({}, {})))


def test_text_of_strangers_stays_text_and_nothing_is_loaded():
    bundle = replace(open_bundle(BUILTIN_FOLDER), name=NAME, chat_template=NAME)
    written = inspect_page(bundle, "because <b>")
    found = Checked(written)
    assert found.tags.count("script") == 1 and "img" not in found.tags
    assert all(value.startswith("#t") for value in found.loads)
    assert "script-src 'sha256-" in unescape(written) and "because &lt;b&gt;" in written


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    try:
        opened = Browser(folder / "browser")
    except NoBrowser as why:
        pytest.skip(str(why))
    (folder / "page.html").write_text(inspect_page(replace(open_bundle(BUILTIN_FOLDER), name=NAME)), "utf-8")
    with opened:
        opened.page = f"file://{folder / 'page.html'}"
        yield opened


def visible(browser):
    return browser.run("return [...document.querySelectorAll('.flow > li')].filter(li => !li.hidden).length")


def test_search_shows_what_matches_and_gives_everything_back(browser):
    browser.go(browser.page)
    assert browser.text("#count") == "56 tensors" and visible(browser) == 8
    browser.type("#search", "q_proj layers.3")
    assert browser.text("#count") == "1 of 56 tensors" and visible(browser) == 1
    assert browser.count("tr:not([hidden]) > td:first-child") >= 1
    assert browser.run("return document.querySelectorAll('.card[open]').length") == 1
    browser.press("escape")
    assert browser.text("#count") == "56 tensors" and visible(browser) == 8
    assert browser.run("return document.querySelectorAll('.card[open]').length") == 1


def test_keys_find_move_and_open(browser):
    browser.go(browser.page)
    event = "new KeyboardEvent('keydown', {key: arguments[0], bubbles: true})"
    press = f"document.activeElement.dispatchEvent({event})"
    browser.run(press, "j")
    assert "embedding" in browser.run("return document.activeElement.innerText")
    browser.run(press, "j")
    browser.run(press, "ArrowDown")
    assert "layer 1" in browser.run("return document.activeElement.innerText")
    browser.press("enter")
    assert browser.run("return document.activeElement.parentElement.open") is True
    browser.run(press, "/")
    assert browser.run("return document.activeElement.id") == "search"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_it_fits_the_window(browser, width, scheme):
    browser.resize(width, 900)
    browser.prefer(scheme)
    browser.go(browser.page)
    browser.click("#open")
    assert browser.run("return document.querySelectorAll('.card[open]').length") == 8
    sizes = browser.run("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
    assert sizes[0] <= sizes[1]
    assert browser.logged() == []
