"""A conversion that is killed leaves no target, and the next run continues it to the very same bytes."""

import os
import signal
import subprocess
import sys
import time

import pytest
from killed_conversions import ENVIRONMENT, files_of, killed
from model_folders import converted

from fairway.convert import prove
from fairway.convert.workplace import Workplace
from fairway.convert.write import Writing
from fairway.errors import Busy, DoesNotFit, InternalError, ProofFailed
from fairway.formats.digest import bundle_digest
from fairway.formats.open import open_bundle

MOMENTS = [("begin", 1), ("note", 1), ("note", 7), ("note", 21), ("record", 1), ("_make_durable", 1)]


@pytest.mark.parametrize(("moment", "count"), MOMENTS)
def test_killed_then_continued(model, tmp_path, monkeypatch, moment, count):
    target = tmp_path / "out"
    killed(moment, count, model, "--to", "safetensors", "--type", "bf16", "--out", target)
    assert not target.exists()
    written = []
    note = Workplace.note
    monkeypatch.setattr(Workplace, "note", lambda self, row: (written.append(row.name), note(self, row)))
    converted(model, "safetensors", target, type="BF16")
    total = 21
    assert len(written) == total - (count if moment == "note" else 0 if moment == "begin" else total)
    converted(model, "safetensors", tmp_path / "whole", type="BF16")
    assert files_of(target) == files_of(tmp_path / "whole")
    assert not (tmp_path / ".out.partial").exists()


TARGETS = ("gguf", "onnx", "openvino", "modelfile")


@pytest.mark.parametrize(("moment", "count"), [MOMENTS[0], MOMENTS[2], MOMENTS[4], MOMENTS[5]])
@pytest.mark.parametrize("to", TARGETS)
def test_every_format_is_whole_or_not_there(model, tmp_path, to, moment, count):
    """And the run that continues ends with what a run that was left alone ends with."""
    if to == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    target = tmp_path / "out"
    killed(moment, count, model, "--to", to, "--out", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "model"]
    continued = converted(model, to, target)
    whole = converted(model, to, tmp_path / "whole")
    assert (continued.digest, continued.source_digest) == (whole.digest, whole.source_digest)
    assert bundles(target) == bundles(tmp_path / "whole")
    assert not (tmp_path / ".out.partial").exists()


def bundles(path):
    """Every file's name and bytes, without the times in the lineage of a GGUF file."""
    found = files_of(path)
    gguf = [name for name in found if name.endswith(".gguf") or not name]
    for name in gguf:
        found[name] = bundle_digest(open_bundle(path / name if name else path)).value
    return found


def test_killed_from_outside_at_any_time(model, tmp_path):
    """Whenever the kill comes: the target is either whole or not there."""
    target = tmp_path / "out"
    command = [sys.executable, "-m", "fairway", "convert", str(model), "--to", "safetensors", "--force"]
    converted(model, "safetensors", tmp_path / "whole")
    for delay_s in (0.2, 0.3, 0.35, 0.4, 0.5):
        with subprocess.Popen(
            [*command, "--out", str(target)], stderr=subprocess.PIPE, env=ENVIRONMENT
        ) as process:
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
        if target.exists():
            assert files_of(target) == files_of(tmp_path / "whole")
    converted(model, "safetensors", target, force=True)
    assert files_of(target) == files_of(tmp_path / "whole")


def test_bytes_that_changed_after_the_kill_are_written_again(model, tmp_path):
    """The journal is not believed: what it lists is hashed."""
    target = tmp_path / "out"
    killed("note", 9, model, "--to", "safetensors", "--out", target)
    [file] = (tmp_path / ".out.partial" / "content").glob("*.safetensors")
    raw = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(raw[:8], "little")
    raw[header + 5] ^= 0xFF
    file.write_bytes(raw)
    converted(model, "safetensors", target)
    converted(model, "safetensors", tmp_path / "whole")
    assert files_of(target) == files_of(tmp_path / "whole")


def test_half_a_line_in_the_journal_is_no_line(model, tmp_path):
    target = tmp_path / "out"
    killed("note", 5, model, "--to", "safetensors", "--out", target)
    with (tmp_path / ".out.partial" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"name": "model.no')
    converted(model, "safetensors", target)


@pytest.mark.parametrize("change", ["settings", "source"])
def test_another_conversion_starts_over(model, tmp_path, monkeypatch, change):
    target = tmp_path / "out"
    killed("note", 9, model, "--to", "safetensors", "--out", target)
    if change == "source":
        raw = bytearray((model / "model.safetensors").read_bytes())
        raw[-3] ^= 0x55
        (model / "model.safetensors").write_bytes(raw)
    written = []
    note = Workplace.note
    monkeypatch.setattr(Workplace, "note", lambda self, row: (written.append(row.name), note(self, row)))
    converted(model, "safetensors", target, type="BF16" if change == "settings" else "stored")
    assert len(written) == 21


def test_interrupted_by_hand_is_continued_too(model, tmp_path, monkeypatch):
    def interrupted(self, row):
        raise KeyboardInterrupt

    monkeypatch.setattr(Workplace, "note", interrupted)
    with pytest.raises(KeyboardInterrupt):
        converted(model, "safetensors", tmp_path / "out")
    assert (tmp_path / ".out.partial").is_dir()
    monkeypatch.undo()
    converted(model, "safetensors", tmp_path / "out")


def test_two_at_once_are_one_too_many(model, tmp_path, monkeypatch):
    run = Writing.run

    def second_meanwhile(self, output):
        with pytest.raises(Busy, match="Another process is writing"):
            converted(model, "safetensors", tmp_path / "out")
        return run(self, output)

    monkeypatch.setattr(Writing, "run", second_meanwhile)
    converted(model, "safetensors", tmp_path / "out")


def test_a_disk_that_fills_up_says_so_and_can_go_on(model, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DoesNotFit, match="is full") as caught:
        converted(model, "safetensors", tmp_path / "out")
    assert "continues" in caught.value.hint
    monkeypatch.undo()
    converted(model, "safetensors", tmp_path / "out")


@pytest.mark.parametrize(("kind", "error"), [("F32", InternalError), ("BF16", ProofFailed)])
def test_a_disk_that_lies_is_found_out(model, tmp_path, monkeypatch, kind, error):
    """Nothing is published when what is read back is not what was written."""
    pwrite = os.pwrite

    def lossy(descriptor, data, offset):
        changed = bytearray(data)
        if len(changed) > 1000:
            changed[7] ^= 0x40
        return pwrite(descriptor, bytes(changed), offset)

    monkeypatch.setattr(os, "pwrite", lossy)
    with pytest.raises(error, match=r"read back other|relative error inf"):
        converted(model, "safetensors", tmp_path / "out", type=kind)
    assert not (tmp_path / "out").exists()


def test_who_accepts_a_failed_proof_is_recorded(model, tmp_path, monkeypatch):
    """And continues where the proof failed: nothing is written again."""
    limit = prove.Thresholds.tensor_limit
    monkeypatch.setattr(prove.Thresholds, "tensor_limit", lambda *types: 1e-9)
    monkeypatch.setattr(prove, "SHIFTED", 1e-9)
    with pytest.raises(ProofFailed, match="Nothing was published") as caught:
        converted(model, "safetensors", tmp_path / "out", type="BF16")
    assert "--accept" in caught.value.hint
    written = []
    note = Workplace.note
    monkeypatch.setattr(Workplace, "note", lambda self, row: (written.append(row.name), note(self, row)))
    converted(model, "safetensors", tmp_path / "out", type="BF16", accept="small enough for me")
    step = open_bundle(tmp_path / "out").lineage.steps[0]
    assert step.accepted_by.endswith(": small enough for me")
    assert step.proof["passed"] is False
    assert written == []
    monkeypatch.setattr(prove.Thresholds, "tensor_limit", limit)
    converted(model, "safetensors", tmp_path / "fine", type="BF16", accept="not needed")
    assert open_bundle(tmp_path / "fine").lineage.steps[0].accepted_by is None


def test_a_target_that_is_replaced_keeps_its_old_self_until_the_end(model, tmp_path, monkeypatch):
    target = tmp_path / "out"
    converted(model, "safetensors", target)
    before = files_of(target)
    killed("note", 3, model, "--to", "safetensors", "--type", "f16", "--out", target, "--force")
    assert files_of(target) == before
    converted(model, "safetensors", target, type="F16", force=True)
    assert files_of(target) != before


@pytest.mark.parametrize("there", ["file", "folder", "link to a folder"])
@pytest.mark.parametrize("to", ["safetensors", "gguf"])
def test_whatever_is_there_is_replaced_when_told(model, tmp_path, to, there):
    target, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    if there == "file":
        target.write_text("old")
    elif there == "folder":
        target.mkdir()
        (target / "old").write_text("old")
    else:
        target.symlink_to(other)
    converted(model, to, target, force=True)
    assert target.is_dir() is (to == "safetensors")
    assert not (target / "old").exists()
    assert (other / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other", "out"]
