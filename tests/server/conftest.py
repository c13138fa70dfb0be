"""Servers to talk to: a quick one for most tests, and `serving` for those that need their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import openai
import pytest
from stack import make_runtime

from fairway.runtimes.protocol import Runtime
from fairway.server.app import create_app
from fairway.server.model_table import ModelTable
from fairway.server.run import ServerThread
from fairway.server.settings import ServerSettings

Serving = Callable[..., AbstractContextManager[ServerThread]]


@contextmanager
def serving(*runtimes: Runtime, pages=(), **settings) -> Iterator[ServerThread]:
    """A real server on a free port; the runtimes are closed with it."""
    table = ModelTable({each.info.name: each for each in runtimes})
    app = create_app(table, ServerSettings(port=0, **settings), pages)
    try:
        with ServerThread(app) as server:
            server.app = app
            yield server
    finally:
        for each in runtimes:
            each.close()


@pytest.fixture(scope="session")
def server() -> Iterator[ServerThread]:
    """`letters` answers with letters until it is told to stop; `ends` also by itself."""
    with serving(make_runtime(), make_runtime("org/ends", ends=True)) as running:
        yield running


@pytest.fixture(scope="session")
def http(server: ServerThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def client(server: ServerThread) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as made:
        yield made
