"""What a start leaves behind in the allocator."""

import subprocess
import sys

import pytest

SCRIPT = """
from pathlib import Path
from fairway.runtimes.heap import release_unused

def anonymous_bytes():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(text.split("Anonymous:")[1].split()[0]) * 1024

kept, scratch = [], []
for _ in range(2_000):  # pieces side by side: what is freed between them cannot be returned unasked
    kept.append(bytes(60_000))
    scratch.append(bytes(60_000))
scratch.clear()
before = anonymous_bytes()
release_unused()
print(before - anonymous_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps and returns")
def test_memory_of_a_start_goes_back_to_the_system() -> None:
    child = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(child.stdout) > 50_000_000
