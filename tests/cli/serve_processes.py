"""`fairway serve` as a process of its own, for tests that ask it over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

FAIRWAY = [sys.executable, "-m", "fairway.cli.main"]


@contextmanager
def serving(*args: str):
    """The address of a running server, from what it printed when it was ready."""
    command = [*FAIRWAY, "serve", *args, "--json", "--port", "0", "--no-cache"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()
