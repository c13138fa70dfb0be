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
        start = time.perf_counter()
        self._bench(1, 1, 1)
        self.load_s = time.perf_counter() - start

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        batch = len(prompts)
        found = self._bench(batch, len(prompts[0]), max(1, num_tokens - 1))
        return Times(found["t_pp"], found["t_tg"], batch * found["tg"])

    def _bench(self, batch: int, prompt: int, generate: int) -> dict[str, Any]:
        sizes = ["-c", str(batch * (prompt + generate) + SPARE_TOKENS), "-npp", str(prompt),
                 "-ntg", str(generate), "-npl", str(batch)]  # fmt: skip
        done = subprocess.run(
            [*self.command, *sizes], capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output")
        return dict(json.loads(lines[-1]))


def version(tool: str) -> str:
    """`version: 1234 (abcdef)` as it prints itself."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("version:")]
    return lines[0].removeprefix("version:").strip() if lines else "unknown"


if __name__ == "__main__":
    serve(LlamaCpp)
