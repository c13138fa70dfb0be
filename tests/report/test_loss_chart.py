"""The loss curve is one SVG file that any viewer draws."""

from xml.etree import ElementTree

import pytest

from fairway.report.loss_chart import MOST_POINTS, loss_chart

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("held_out", [[], [(0, 3.0), (5000, 1.5)]])
def test_a_long_run_is_a_small_valid_file(held_out):
    drawn = loss_chart([(step, 3.0 / step) for step in range(1, 5001)], held_out)
    root = ElementTree.fromstring(drawn)
    lines = root.findall(f"{SVG}polyline")
    assert 0 < len(lines[0].attrib["points"].split()) <= MOST_POINTS
    assert len(root.findall(f"{SVG}circle")) == len(held_out)
    assert ("3.000 before, 1.500 after" in drawn) == bool(held_out)


def test_a_loss_of_nothing_is_drawn():
    assert "polyline" in loss_chart([(1, 0.0)], [])
