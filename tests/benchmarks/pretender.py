"""A worker that only pretends: for tests of everything around workers."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "workers"))
from frame import Times, serve


class Pretender:
    """Leaves a file in its folder, so that a second start differs from the first."""

    version = "1.2"
    weight_bytes = 7

    def __init__(self, settings):
        print("noise on standard output")
        if settings.variant == "broken":
            raise OSError("no such kernel")
        mark = Path(settings.kept) / "mark"
        self.load_s = 1.0 if mark.exists() else 5.0
        mark.touch()

    def run(self, prompts, num_tokens):
        if num_tokens == 13:
            raise RuntimeError("thirteen")
        if num_tokens == 14:
            time.sleep(60)
        return Times(0.5, 2.0, len(prompts) * (num_tokens - 1))


serve(Pretender)
