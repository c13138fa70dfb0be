"""TorchScript: its tensors are read, its program is not; the archives were recorded by torch."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from model_folders import converted

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.identify import identify
from fairway.formats.open import open_bundle

GOLDENS = Path(__file__).parent / "goldens" / "torchscript"
KINDS = ("scripted", "traced")


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_those_of_the_state_dict(kind, tmp_path):
    path = GOLDENS / f"{kind}.pt"
    assert identify(path).words == "a TorchScript program"
    report = converted(path, "safetensors", tmp_path / "out", weights_only=True)
    assert report.verdict.passed
    wanted = np.load(GOLDENS / "state_dict.npz")
    found = open_bundle(tmp_path / "out", complete=False).tensors
    assert set(found.infos) == set(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found.read(name).values, wanted[name])


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_its_program_is_not_run(target, tmp_path):
    with pytest.raises(
        UnsupportedError, match=r"making a graph of it would run it\. Nothing was executed"
    ) as caught:
        converted(GOLDENS / "scripted.pt", target, tmp_path / "out")
    assert "torch.onnx.export" in caught.value.hint
    assert "--weights-only" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_it_cannot_be_served():
    with pytest.raises(UnsupportedError, match="a TorchScript program, which is not opened"):
        open_bundle(GOLDENS / "scripted.pt")


def with_pickle(path, change):
    """The scripted archive with another data.pkl."""
    with zipfile.ZipFile(GOLDENS / "scripted.pt") as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            raw = old.read(entry)
            new.writestr(entry.filename, change(raw) if entry.filename.endswith("/data.pkl") else raw)
    return path


def test_a_name_outside_the_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = b"cbuiltins\nopen\n(X\x07\x00\x00\x00touchedX\x01\x00\x00\x00wtR."
    path = with_pickle(tmp_path / "model.pt", lambda raw: b"\x80\x02" + hostile)
    with pytest.raises(UnsupportedError, match=r"would call builtins\.open"):
        open_bundle(path, complete=False)
    assert not (tmp_path / "touched").exists()


def test_a_cut_pickle_is_one_sentence(tmp_path):
    path = with_pickle(tmp_path / "model.pt", lambda raw: raw[: len(raw) // 2])
    with pytest.raises(FormatError, match="broken pickle"):
        open_bundle(path, complete=False)
