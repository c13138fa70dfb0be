"""A hub of our own, and a client process that is pointed at it.

huggingface_hub reads its environment when it is imported, so each download is a process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, Server

CLIENT = """
import json, sys
from fairway.errors import FairwayError
from fairway.registry.resolve import resolve
seen = []
try:
    found = resolve(sys.argv[1], lambda done, total, what: seen.append((done, total, what)))
    answer = {"path": str(found.path), "name": found.name, "origin": found.origin}
except FairwayError as error:
    answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
print(json.dumps(answer | {"progress": seen}))
"""


class Client:
    """Resolves a MODEL in a process of its own, against one hub and one cache folder."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))
        }
        self.environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}

    def start(self, model: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CLIENT, model]
        return subprocess.Popen(
            command,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
        )

    def resolve(self, model: str, **environment: str) -> dict:
        process = self.start(model, **environment)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return json.loads(out.splitlines()[-1])


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    with Server(hub) as endpoint:
        yield Client(endpoint, tmp_path)
