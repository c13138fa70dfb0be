"""One quick server for most tests; `serving` is for those that need their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from serving import serving
from stack import make_runtime

from fairway.server.run import ServerThread

sys.path.append(str(Path(__file__).parents[1] / "runtimes"))  # adapter_models


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
