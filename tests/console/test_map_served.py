"""The map as a server sends it: under /map, with a strict policy, and without the machine behind keys."""

import httpx
import pytest
from serving import serving
from stack import make_runtime

from fairway.cli.catalogue import map_page_of
from fairway.console.pages import console_pages
from fairway.server.settings import ServerSettings


@pytest.fixture(scope="module")
def site():
    with serving(make_runtime(), pages=(*console_pages(), map_page_of(has_keys=False))) as server:
        yield server


def test_the_map_is_served_and_not_sent_twice(site):
    answer = httpx.get(f"{site.url}/map")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy
        and "frame-ancestors 'none'" in policy
        and "script-src 'sha256-" in policy
    )
    assert "runs here now" in answer.text
    again = httpx.get(f"{site.url}/map", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_it_works_under_the_servers_policy_and_the_chat_page_leads_there(browser, site):
    browser.go(site.url)
    browser.until("return !document.getElementById('model').disabled")
    browser.click("a[href='/map']")
    browser.until("return document.querySelectorAll('.lane').length > 30")
    browser.click(".tool[data-id=ollama]")
    assert "Ollama" in browser.text("#detail")


def test_a_page_is_made_once_and_only_when_asked_for(monkeypatch):
    made = []
    late = map_page_of(has_keys=False)
    monkeypatch.setattr("fairway.map.landscape.look_around", lambda catalogue: made.append(1))
    assert made == []
    assert late.page is late.page and made == [1]


def test_behind_keys_it_tells_nothing_about_the_machine():
    key = "k" * 20
    has_keys = ServerSettings(api_keys=(key,)).has_keys
    with serving(make_runtime(), pages=(map_page_of(has_keys),), api_keys=(key,)) as server:
        text = httpx.get(f"{server.url}/map").text
    assert "The map" in text and "runs here now" not in text and "would run here" not in text
