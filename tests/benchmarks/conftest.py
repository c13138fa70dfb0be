"""The benchmarks are not installed: they are found beside the tests, and their workers in their folder."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "workers")]

from benchmarks.comparison.columns import columns_for  # noqa: E402
from benchmarks.comparison.limits import LimitsMeter  # noqa: E402
from benchmarks.comparison.turns import Contest, prepare  # noqa: E402
from benchmarks.peers.protocol import Command, Model, Place, Unavailable  # noqa: E402


class Pretender:
    name = "Pretender"
    environment = "none"
    variants = ("int4", "broken", "gone")
    worker = str(Path(__file__).with_name("pretender.py"))

    def install(self, place):
        pass

    def prepare(self, model, variant, place):
        if variant == "gone":
            raise Unavailable("it has no such format")
        return Command(Path(sys.executable), self.worker, model.folder)


class Meter(LimitsMeter):
    def measure(self):
        self.limits.add(4e10, 9e11, 0.0)
        return 9e11


@pytest.fixture
def contest(tmp_path):
    model = Model("m", tmp_path / "model", 100, 256, 10, tmp_path / "made")
    model.folder.mkdir()
    place = Place(tmp_path / "cache", threads=1)
    contestants = [prepare(Pretender(), variant, model, place) for variant in Pretender.variants]
    contest = Contest(model, place, columns_for(256, 8), True, contestants, Meter(1))
    yield contest
    contest.close()
