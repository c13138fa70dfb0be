"""Measures from the last update of a fine-tuning job to the first token that its model answers over HTTP.

    python benchmarks/tuned_to_served.py --rounds 5

Needs fairway[tune]. The last update is the last line of figures in the job's run folder; the
client asks for the model by the name that it will have until it is there, so that polling costs a few
milliseconds and no more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BOUNDARY = "fairway"
EVERY_S = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(wanted.model, wanted.rounds, Path(folder))


def measure(model: str, num_rounds: int, folder: Path) -> None:
    command = [sys.executable, "-m", "fairway", "serve", f"base={model}", "--port", "0", "--json"]
    server = subprocess.Popen(
        [*command, "--state-folder", str(folder)], stdout=subprocess.PIPE, env={**os.environ}
    )
    assert server.stdout is not None
    url = json.loads(server.stdout.readline())["url"]
    try:
        found = [one_round(url, folder) for _ in range(num_rounds)]
    finally:
        server.terminate()
        server.wait()
    print(f"last update to first token: median {statistics.median(found):.2f} s", end="")
    print(f" ({min(found):.2f}-{max(found):.2f}) in {num_rounds} rounds; load {os.getloadavg()[0]:.1f}")


def one_round(url: str, folder: Path) -> float:
    job = create(url)
    name = f"ft:base::{job.partition('-')[2][:8]}"
    while not answers(url, name):
        status = ask(f"{url}/v1/fine_tuning/jobs/{job}")["status"]
        if status in ("failed", "cancelled"):
            raise SystemExit(f"The job {status}.")
        time.sleep(EVERY_S)
    first = time.time()
    return first - (folder / "jobs" / job / "run" / "metrics.jsonl").stat().st_mtime


def create(url: str) -> str:
    rows = "".join(
        json.dumps({"prompt": f"What is {at} and one?", "completion": f"It is {at + 1}."}) + "\n"
        for at in range(16)
    )
    begin = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    form = f'{begin}"purpose"\r\n\r\nfine-tune\r\n'
    form += f'{begin}"file"; filename="rows.jsonl"\r\n\r\n{rows}\r\n--{BOUNDARY}--\r\n'
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    file = ask(f"{url}/v1/files", form.encode(), kind)["id"]
    body = json.dumps({"model": "base", "training_file": file}).encode()
    return str(ask(f"{url}/v1/fine_tuning/jobs", body)["id"])


def answers(url: str, name: str) -> bool:
    """Whether the first token of an answer came."""
    body = {"model": name, "messages": [{"role": "user", "content": "What is 3 and one?"}], "max_tokens": 1}
    try:
        return bool(ask(f"{url}/v1/chat/completions", json.dumps(body).encode())["choices"])
    except HTTPError as error:
        if error.code != 404:
            raise
        return False


def ask(url: str, body: bytes | None = None, kind: str = "application/json") -> dict[str, Any]:
    with urlopen(Request(url, body, {"content-type": kind})) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


if __name__ == "__main__":
    main()
