"""A server with the console's pages, and one browser for all tests that need one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "server"))

from browser import Browser, NoBrowser


@pytest.fixture(scope="session")
def window(tmp_path_factory):
    try:
        opened = Browser(tmp_path_factory.mktemp("browser"))
    except NoBrowser as why:
        pytest.skip(str(why))
    with opened:
        yield opened


@pytest.fixture
def browser(window):
    """The window at desktop size, light, with nothing stored, and silent at the end."""
    window.resize(1280, 860)
    window.prefer("light")
    window.logged()
    yield window
    assert window.logged() == []
    window.run("localStorage.clear(); sessionStorage.clear()")
