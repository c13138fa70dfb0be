"""llama.cpp, measured by its own llama-batched-bench: one process per measurement, its own timings.

The tool draws prompts itself, so only their number and length count. Loading is timed from outside,
until the process has read one token and written one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from frame import Prompts, Settings, Times, serve

UBATCH = 512
SPARE_TOKENS = 64
"""The tool warms up with 16 tokens, whatever it was asked for."""
ATTEMPTS = 20
"""A process that ends quickly may lose what it printed last (ggml-org/llama.cpp issue 22142)."""
ENVIRONMENT = {**os.environ, "GGML_NO_BACKTRACE": "1"}


class LlamaCpp:
    warms_up = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        tool = str(Path(settings.tools) / "llama-batched-bench")
        threads = str(settings.threads)
        self.command = [tool, "-m", settings.model, "-t", threads, "-tb", threads,
                        "-b", "2048", "-ub", str(UBATCH), "--output-format", "jsonl"]  # fmt: skip
        self.version = version(tool)
        self.weight_bytes = Path(settings.model).stat().st_size
        self._bench(1, 1, 1)
        self.load_s = self.process_s

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        batch = len(prompts)
        found = self._bench(batch, len(prompts[0]), max(1, num_tokens - 1))
        return Times(found["t_pp"], found["t_tg"], batch * found["tg"])

    def _bench(self, batch: int, prompt: int, generate: int) -> dict[str, Any]:
        sizes = ["-c", str(batch * (prompt + generate) + SPARE_TOKENS), "-npp", str(prompt),
                 "-ntg", str(generate), "-npl", str(batch)]  # fmt: skip
        for _ in range(ATTEMPTS):
            if lines := self._output([*self.command, *sizes]):
                return dict(json.loads(lines[-1]))
        raise RuntimeError(f"llama-batched-bench ended {ATTEMPTS} times without a result")

    def _output(self, command: list[str]) -> list[str]:
        """The lines of JSON; there is none when the tool's log thread was too late."""
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        self.process_s = time.perf_counter() - start
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise RuntimeError(said[-1])
        return [line for line in done.stdout.splitlines() if line.startswith("{")]


def version(tool: str) -> str:
    """`version: 1234 (abcdef)` as it prints itself."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("version:")]
    return lines[0].removeprefix("version:").strip() if lines else "unknown"


if __name__ == "__main__":
    serve(LlamaCpp)
