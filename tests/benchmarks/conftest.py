"""The benchmarks are not installed: they are found beside the tests, and their workers in their folder."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "workers")]
