"""Starts `make up`, asks the server one question over HTTP as a client would, and stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

COMMAND = ["make", "--no-print-directory", "up", "ARGS=--json --port 0"]
TIMEOUT_S = 60


def main() -> None:
    server = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        ready = _ready(server)
        print(f"Serving at {ready['url']}")
        print(_ask(ready["url"], ready["model"]))
        with urllib.request.urlopen(f"{ready['url']}/health", timeout=TIMEOUT_S):
            pass
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(TIMEOUT_S)


def _ready(server: subprocess.Popen[str]) -> dict[str, str]:
    """What `up --json` prints once it serves."""
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("{"):
            ready: dict[str, str] = json.loads(line)
            return ready
    sys.exit("make up ended without serving.")


def _ask(url: str, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
    if not text.strip():
        sys.exit("The answer is empty.")
    return text


if __name__ == "__main__":
    main()
