"""The files as they are served: complete, self-contained, with strict headers."""

import re

import httpx
import pytest
from serving import serving
from stack import make_runtime

from fairway.cli.catalogue import map_page_of
from fairway.console.pages import FILES, FOLDER, console_pages


@pytest.fixture(scope="module")
def pages():
    with (
        serving(make_runtime(), pages=[*console_pages(), map_page_of(has_keys=False)]) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        yield client


@pytest.mark.parametrize(("path", "name", "media_type"), FILES)
def test_each_file_is_served_with_strict_headers(pages, path, name, media_type):
    answer = pages.get(path)
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"].split(";")[0] == media_type
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


def test_an_unchanged_file_is_not_sent_again(pages):
    etag = pages.get("/app.js").headers["etag"]
    again = pages.get("/app.js", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert pages.get("/app.js", headers={"if-none-match": '"old"'}).status_code == 200
    assert pages.head("/").status_code == 200


def test_nothing_comes_from_elsewhere():
    for name in ("index.html", "docs.html", "style.css", "app.js", "docs.js", "page.js"):
        text = (FOLDER / name).read_text("utf-8")
        assert re.findall(r"https?://(?!www\.w3\.org/)", text) == [], name
        assert "@import" not in text


def test_text_enters_as_text():
    for name in ("app.js", "docs.js", "page.js"):
        text = (FOLDER / name).read_text("utf-8")
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text
        )
        assert found == [], name


def test_no_script_or_style_is_inline():
    for name in ("index.html", "docs.html"):
        text = (FOLDER / name).read_text("utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
        assert text.count("<script") == 1


def test_every_file_that_is_referred_to_is_served(pages):
    for name in ("index.html", "docs.html"):
        for path in re.findall(r'(?:href|src)="(/[^"]*)"', (FOLDER / name).read_text("utf-8")):
            assert pages.get(path).status_code == 200, path
