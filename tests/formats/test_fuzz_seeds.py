"""What `make fuzz` begins with: sound files, since a reader that refuses a seed is hardly searched."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))

from make_seeds import SEEDS

from fairway.errors import UnsupportedError
from fairway.formats.open import open_bundle
from fairway.formats.open_graph import open_graph


@pytest.mark.parametrize("reader", SEEDS)
def test_seeds_are_read(reader, tmp_path):
    SEEDS[reader](tmp_path)
    seeds = sorted(tmp_path.iterdir())
    assert len(seeds) >= 3
    for path in seeds:
        if reader == "onnx":
            (tmp_path / "model.onnx").write_bytes(path.read_bytes())
            assert open_graph(tmp_path / "model.onnx") is not None
            continue
        try:
            open_bundle(path, complete=False)
        except UnsupportedError as refused:
            assert path.name == "module.pt" or path.suffix == ".pkl", refused
