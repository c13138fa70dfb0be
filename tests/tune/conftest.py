"""All tests of training are on one thread, as those of the command line are."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "cli"))

from tune_processes import one_thread  # noqa: F401  a fixture
