"""The tests of the proof use the families and the checkpoints of other folders' tests."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / name) for name in ("models", "runtimes")]
