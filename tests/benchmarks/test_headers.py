"""The measurement of headers, on graphs of two layers."""

import pytest

from benchmarks import headers


@pytest.mark.parametrize("family", headers.FAMILIES)
def test_a_graph_is_written_and_read(family, tmp_path):
    path = headers.write_graph(tmp_path, family, 2)
    nodes, least, median = headers.measured(path, 3)
    assert nodes > 100
    assert 0 < least <= median
