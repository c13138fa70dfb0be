"""The page of a data check: whole, escaped, and what was found."""

import json
import sys
from html import unescape
from pathlib import Path

import pytest
from browser import Browser, NoBrowser
from checked_page import Checked

sys.path.append(str(Path(__file__).parents[1] / "tune"))
from tune_cases import MARKED, assistant, encoder, unmarked, user

from fairway.report.data_page import data_page
from fairway.tune.check import check
from fairway.tune.dataset import open_dataset

NAME = "<img src=x onerror=alert(1)>\u202e"


def rows():
    good = [{"messages": [user(f"question {at}\n{NAME}"), assistant(f"answer\n{at}")]} for at in range(40)]
    return [*good, good[0], {"messages": [{"role": NAME, "content": "x"}]}]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    made = {}
    for name, records, held_out in (("wrong", rows(), None), ("right", rows()[:30], rows()[30:40])):
        paths = [folder / f"{name}.jsonl", folder / f"{name}-test.jsonl"]
        for path, each in zip(paths, (records, held_out or []), strict=True):
            path.write_text("".join(json.dumps(record) + "\n" for record in each), "utf-8")
        other = open_dataset(paths[1]) if held_out else None
        found = encoder(unmarked(MARKED["chatml"]))
        made[name] = data_page(check(NAME, open_dataset(paths[0]), other, found, lambda *_: None))
    return made


@pytest.mark.parametrize("name", ["wrong", "right"])
def test_pages_are_whole_and_load_nothing(pages, name):
    found = Checked(pages[name])
    assert found.loads == [] and "script" not in found.tags and "img" not in found.tags
    assert "default-src 'none'" in unescape(pages[name])
    assert "&lt;img src=x onerror=alert(1)&gt;" in pages[name]


def test_what_is_shown_is_what_was_found(pages):
    assert "wrong.jsonl cannot be learned as it is" in pages["wrong"]
    assert "wrong.jsonl line 42" in pages["wrong"] and "wrong.jsonl line 41: as line 1" in pages["wrong"]
    assert "can be learned" in pages["right"] and "Nothing was found." in pages["right"]
    assert '<i class="end">&lt;|im_end|&gt;</i>' in pages["right"]
    assert pages["right"].count('class="tokens"') == 24 + 10


def test_it_fits_small_and_large_windows_in_both_themes(pages, tmp_path):
    try:
        opened = Browser(tmp_path / "browser")
    except NoBrowser as why:
        pytest.skip(str(why))
    with opened as browser:
        path = tmp_path / "page.html"
        path.write_text(pages["wrong"], "utf-8")
        for width, scheme in ((1200, "light"), (1200, "dark"), (390, "light")):
            browser.resize(width, 900)
            browser.prefer(scheme)
            browser.go(f"file://{path}")
            sizes = browser.run("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
            assert sizes[0] <= sizes[1], width
        assert browser.logged() == []
