"""The tests of pages use the models of other folders' tests, and their browser."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / name) for name in ("proof", "console", "models", "report")]
