"""Packed weights on disk: the same model to the bit, whatever happened to the folder in the meantime."""

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_cases import CASES
from packed_models import CONFIG, LARGER, answer, load, started, write_model
from tiny_models import Session, golden

from fairway.formats.open import open_bundle
from fairway.formats.safetensors import SafetensorsFile
from fairway.formats.source import Source
from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.models import packed_file, packed_weights
from fairway.models.loader import load_model
from fairway.models.packed_cache import PackedCache
from fairway.models.random import random_bundle

pytestmark = pytest.mark.skipif(not native_isas(), reason="the reference does not pack")


@pytest.fixture
def cache(tmp_path):
    """A cache for models of any size, and the lines it told as `notes`."""
    notes = []
    cache = PackedCache(tmp_path / "cache", 1 << 40, notes.append, smallest_bytes=0, wait_s=0.2)
    object.__setattr__(cache, "notes", notes)
    return cache


@pytest.fixture(autouse=True)
def believed_at_once(request, monkeypatch):
    """Files of these tests are seconds old at most; one test is about that."""
    if "settle" not in request.node.name:
        monkeypatch.setattr("fairway.models.source_digest.SETTLED_S", 0)


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


def packed(cache: PackedCache) -> list[Path]:
    return sorted(cache.folder.glob("*.packed"))


def parts(cache: PackedCache) -> list[Path]:
    return sorted(cache.folder.glob("*.part"))


# --- the same model


@pytest.mark.parametrize("weight_type", ["stored", "bf16", "int8", "int4"])
@pytest.mark.parametrize("kind", ["f32", "bf16"])
def test_the_second_start_reads_no_weight_and_answers_the_same(
    cache, tmp_path, monkeypatch, weight_type, kind
):
    model = write_model(tmp_path / "model", kind=kind)
    expected = load(model, None, weight_type)
    first = load(model, cache, weight_type)
    monkeypatch.setattr(SafetensorsFile, "read", None)
    second = load(model, cache, weight_type)
    for found in (first, second):
        np.testing.assert_array_equal(answer(found), answer(expected))
        assert found.weight_bytes == expected.weight_bytes
    assert len(packed(cache)) == 1
    assert cache.notes == []
    assert parts(cache) == []


@pytest.mark.parametrize("name", CASES)
def test_every_family_comes_back_as_it_was(cache, tmp_path, name):
    case = golden(name)
    (tmp_path / "weights").write_bytes(name.encode())
    bundle = replace(case.bundle, sources=(Source(tmp_path / "weights"),))
    for weight_type in ("stored", "int4"):
        models = [
            load_model(
                bundle, NativeBackend(None, 1), weight_type=weight_type, context=case.context, cache=each
            )
            for each in (None, cache, cache)
        ]
        first, *others = (Session(model).feed(case.tokens[:5]) for model in models)
        for other in others:
            np.testing.assert_array_equal(other, first)
    assert len(packed(cache)) == 2


@pytest.mark.parametrize("isa", native_isas())
def test_one_file_serves_every_instruction_set(cache, model, isa):
    bundle = open_bundle(model, complete=False)
    load_model(bundle, NativeBackend(native_isas()[0], 1), weight_type="int4", cache=cache)
    found = load_model(bundle, NativeBackend(isa, 1), weight_type="int4", cache=cache)
    expected = load_model(bundle, NativeBackend(isa, 1), weight_type="int4")
    np.testing.assert_array_equal(answer(found), answer(expected))
    assert len(packed(cache)) == 1


@pytest.mark.parametrize("weight_type", ["stored", "int8"])
def test_a_head_that_is_a_copy_of_the_embedding_is_held_once(cache, tmp_path, weight_type):
    tied = {**CONFIG, "tie_word_embeddings": True}
    expected = load(write_model(tmp_path / "tied", tied), None, weight_type)
    copied = write_model(tmp_path / "copied", {**CONFIG, "tie_word_embeddings": False}, head="embedding")
    for found in (load(copied, each, weight_type) for each in (None, cache, cache)):
        np.testing.assert_array_equal(answer(found), answer(expected))
        assert found.weight_bytes == expected.weight_bytes
    apart = write_model(tmp_path / "apart", {**CONFIG, "tie_word_embeddings": False})
    assert load(apart, None, weight_type).weight_bytes > expected.weight_bytes
    kept = sorted(path.stat().st_size for path in packed(cache))
    load(apart, cache, weight_type)
    assert len(packed(cache)) == 2
    assert max(path.stat().st_size for path in packed(cache)) > kept[0] + 90_000


def test_the_weights_are_mapped_shared_and_only_to_be_read(cache, model):
    load(model, cache)
    loaded = load(model, cache)
    maps = Path("/proc/self/maps").read_text().splitlines()
    modes = {line.split()[1] for line in maps if line.endswith(str(packed(cache)[0]))}
    assert modes == {"r--s"}
    assert loaded.weight_bytes > 0


# --- content is what counts


def test_a_copy_elsewhere_is_the_same_model(cache, model, tmp_path):
    load(model, cache)
    load(Path(shutil.copytree(model, tmp_path / "copy")), cache)
    assert len(packed(cache)) == 1


def test_other_weights_in_the_same_place_are_packed_again(cache, model):
    load(model, cache)
    write_model(model, seed=1)
    np.testing.assert_array_equal(answer(load(model, cache)), answer(load(model, None)))
    assert len(packed(cache)) == 2


def test_a_change_in_place_that_keeps_size_and_time_is_seen(cache, model):
    weights = model / "model.safetensors"
    before = weights.stat()
    load(model, cache)
    with weights.open("r+b") as file:
        file.seek(before.st_size - 1000)
        file.write(bytes(1000))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    np.testing.assert_array_equal(answer(load(model, cache)), answer(load(model, None)))
    assert len(packed(cache)) == 2


def test_a_known_file_is_not_hashed_again(cache, model, monkeypatch):
    load(model, cache)
    monkeypatch.setattr("fairway.models.source_digest.file_digest", None)
    load(model, cache)


def test_a_file_that_has_not_settled_is_hashed_again(cache, model):
    load(model, cache)
    assert not (cache.folder / "digests.json").exists()
    load(model, cache)
    assert len(packed(cache)) == 1


def test_a_damaged_list_of_digests_costs_a_look_at_the_file(cache, model):
    load(model, cache)
    for damage in (b"", b"{}", b"[[1, 2], 3, [{}]]", b"\xff"):
        (cache.folder / "digests.json").write_bytes(damage)
        load(model, cache)
    assert len(packed(cache)) == 1
    assert cache.notes == []


def test_another_version_of_the_program_packs_for_itself(cache, model, monkeypatch):
    load(model, cache)
    monkeypatch.setattr(packed_weights, "__version__", "0.0.0")
    load(model, cache)
    assert len(packed(cache)) == 2


def test_small_and_made_up_models_are_not_kept(cache, model):
    load(model, replace(cache, smallest_bytes=1 << 30))
    load_model(random_bundle(CONFIG), NativeBackend(None, 1), cache=cache)
    assert not cache.folder.exists()


# --- damage


def damages(size: int):
    """Cuts at many places; each byte of the header and some of the table turned over; another layout."""
    for length in (0, 1, 63, 64, size // 2, size - 1):
        yield f"cut to {length}", lambda data, n=length: data[:n]
    for place in (*range(0, 64, 5), size - 1, size - 200):
        yield f"byte {place}", lambda data, p=place: data[:p] + bytes([data[p] ^ 255]) + data[p + 1 :]
    yield "longer", lambda data: data + b"x"


def test_a_damaged_file_is_told_in_a_line_and_made_again(cache, model):
    expected = answer(load(model, cache))
    (path,) = packed(cache)
    whole = path.read_bytes()
    for name, damage in damages(len(whole)):
        cache.notes.clear()
        path.unlink()
        path.write_bytes(damage(whole))
        np.testing.assert_array_equal(answer(load(model, cache)), expected)
        assert len(cache.notes) == 1, name
        assert "made again" in cache.notes[0]
        assert packed(cache) == [path]
        assert path.read_bytes() == whole, name


def test_a_file_of_another_layout_is_made_again(cache, model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(packed_file, "LAYOUT", 99)
        load(model, cache)
    expected = answer(load(model, None))
    np.testing.assert_array_equal(answer(load(model, cache)), expected)
    assert "99" in cache.notes[0]


# --- several processes


def results(processes) -> list[dict]:
    found = []
    for process in processes:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        found.append(json.loads(out))
    return found


def test_processes_that_start_at_once_all_answer_and_share_one_file(cache, tmp_path):
    model = write_model(tmp_path / "larger", LARGER)
    found = results([started(model, cache.folder) for _ in range(3)])
    assert len({each["sum"] for each in found}) == 1
    assert len(packed(cache)) == 1
    assert parts(cache) == []
    waited = [note for each in found for note in each["notes"]]
    assert all("waiting" in note for note in waited)


def test_processes_killed_at_any_moment_leave_nothing_that_harms(cache, tmp_path):
    model = write_model(tmp_path / "larger", LARGER)
    expected = float(answer(load(model, None)).sum())
    num_left = 0
    for delay in np.random.default_rng(0).uniform(0, 0.25, 6):
        process = started(model, cache.folder)
        while process.poll() is None and not parts(cache):
            time.sleep(0.002)  # until it packs
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        num_left += len(parts(cache))
        for path in packed(cache):
            path.unlink()
    assert num_left > 0, "no process was killed while it packed"
    (found,) = results([started(model, cache.folder)])
    assert (found["sum"], found["notes"]) == (expected, [])
    assert parts(cache) == []
    assert len(packed(cache)) == 1


def test_a_part_without_owner_is_removed_and_one_in_work_is_not(cache, model):
    cache.folder.mkdir()
    dead, alive = cache.folder / "dead.part", cache.folder / "alive.part"
    dead.write_bytes(b"half")
    with alive.open("wb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        load(model, cache)
        assert parts(cache) == [alive]


def test_a_process_that_never_finishes_is_not_waited_for_forever(cache, model, monkeypatch):
    load(model, cache)
    monkeypatch.setattr("fairway.models.packed_cache._lock", lambda path, create=True: None)
    packed(cache)[0].unlink()
    np.testing.assert_array_equal(answer(load(model, cache)), answer(load(model, None)))
    assert [note.split(":")[0] for note in cache.notes[:1]] == ["Another process is packing this model"]
    assert "has been packing it" in cache.notes[1]


# --- a disk that is full, a folder that is closed


def test_a_full_disk_is_told_in_a_line_and_the_model_runs(cache, model, monkeypatch):
    expected = answer(load(model, None))

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fairway.models.packed_file.os.write", full)
    np.testing.assert_array_equal(answer(load(model, cache)), expected)
    assert len(cache.notes) == 1
    assert "No space left on device" in cache.notes[0]
    assert parts(cache) == packed(cache) == []


def test_a_limit_on_file_sizes_is_like_a_full_disk(cache, tmp_path):
    model = write_model(tmp_path / "larger", LARGER)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9 << 20, 9 << 20))  # noqa: E731
    (found,) = results([started(model, cache.folder, preexec_fn=limit)])
    assert found["sum"] == float(answer(load(model, None)).sum())
    assert len(found["notes"]) == 1
    assert "File too large" in found["notes"][0]
    assert parts(cache) == packed(cache) == []


def test_a_folder_that_cannot_be_made_is_told_in_a_line(cache, model, tmp_path):
    (tmp_path / "cache").write_text("a file")
    np.testing.assert_array_equal(answer(load(model, cache)), answer(load(model, None)))
    assert len(cache.notes) == 1


def test_a_checkpoint_written_while_it_is_read_is_not_kept(cache, model, monkeypatch):
    finish = packed_weights.PackingWeights.floats

    def touch(self, *args, **more):
        os.utime(model / "model.safetensors")
        return finish(self, *args, **more)

    monkeypatch.setattr(packed_weights.PackingWeights, "floats", touch)
    load(model, cache)
    assert "changed while it was read" in cache.notes[0]
    assert parts(cache) == packed(cache) == []


# --- how much is kept


def test_the_least_recently_used_go_first_and_the_newest_stays(cache, model):
    for used, weight_type in enumerate(["stored", "int8", "int4"]):
        load(model, cache, weight_type)
        newest = max(packed(cache), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (used, used))
    assert [entry.about["weights"] for entry in cache.entries()] == ["int4", "int8", "stored"]
    load(model, cache, "stored")  # used again
    sizes = {entry.about["weights"]: entry.num_bytes for entry in cache.entries()}
    small = replace(cache, max_bytes=sizes["stored"] + sizes["int4"])
    small.evict()
    assert [entry.about["weights"] for entry in cache.entries()] == ["stored", "int4"]
    load(model, replace(cache, max_bytes=0), "bf16")
    assert [entry.about["weights"] for entry in cache.entries()] == ["bf16"]
