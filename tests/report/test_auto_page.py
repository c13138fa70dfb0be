"""The report of a choice: every mix is there, the chosen one marked, and nothing is loaded."""

import re
from types import SimpleNamespace

import numpy as np

from fairway.autoquantize.choose import Candidate, Choice
from fairway.autoquantize.front import Front
from fairway.autoquantize.measure import Measured
from fairway.autoquantize.settings import Goal
from fairway.proof.likeness import Likeness
from fairway.report.auto_page import auto_page
from fairway.report.charts import Place, frontier


def job(name):
    return SimpleNamespace(name=name, rows=SimpleNamespace(info=SimpleNamespace(num_elements=256 * 64)))


def candidate(name, kind, num_bytes, divergence):
    likeness = Likeness(10.5, 10, divergence, 5 * divergence, 0.9, 2048)
    types = dict.fromkeys(("token_embd.weight", "blk.0.ffn_up.weight", "blk.1.ffn_up.weight"), kind)
    return Candidate(name, types, num_bytes, Measured(likeness, divergence, 12_345.6))


def made():
    own = candidate("auto", "Q5_K", 40_000, 0.01)
    usual = candidate("Q8_0", "Q8_0", 60_000, 0.001), candidate("Q4_<K>", "Q4_K", 30_000, 0.08)
    names = list(own.types)
    task = SimpleNamespace(
        name="small <model>", jobs=tuple(map(job, names)), fixed_bytes=1000, largest=100_000
    )
    front = Front(np.array([20_000, 40_000, 70_000]), np.array([0.3, 0.009, 0.001]), ())
    return Choice(task, Goal(45_000), own, (usual[0], own, usual[1]), front, "a text", 2048)


def test_every_mix_is_a_point_and_a_row():
    page = auto_page(made())
    assert page.count("<circle") == 3
    assert page.count("<tr>") == 4
    assert "<b>auto ←</b>" in page
    assert "ffn_up, 5.50 bits" in page
    assert "Q5_K 0-1" in page
    assert "12,346" in page


def test_it_loads_nothing_and_escapes_names():
    page = auto_page(made())
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search(r"(?:src|href)=", page)
    assert "small &lt;model&gt;" in page
    assert "Q4_&lt;K&gt;" in page


def test_a_smaller_file_stands_left_and_a_better_one_below():
    plot = frontier([Place("a", 1e6, 0.1), Place("b", 2e6, 0.001, True)], [(1e6, 0.1), (9e6, 1e-5)], "two")
    (ax, ay), (bx, by) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', plot)
    assert float(ax) < float(bx)
    assert float(ay) < float(by)
    assert 'class="dot k1"' in plot
    assert "9e" not in re.findall(r'points="([^"]*)"', plot)[0]
