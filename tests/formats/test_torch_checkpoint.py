"""PyTorch's files without PyTorch: the values it wrote, and nothing that it would execute."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.open import open_bundle
from fairway.formats.pickle_values import read_values
from fairway.formats.torch_checkpoint import open_torch

DATA = Path(__file__).parent / "data" / "torch"
GOLDENS = json.loads((DATA / "values.json").read_text("utf-8"))
RUNNABLE = {"F32", "F16", "BF16"}


@pytest.mark.parametrize("name", [name for name in GOLDENS if name != "module.pt"])
def test_the_tensors_that_pytorch_wrote(name):
    file = open_torch(DATA / name)
    assert {key: list(info.shape) for key, info in file.infos.items()} == {
        key: golden["shape"] for key, golden in GOLDENS[name].items()
    }
    for key, info in file.infos.items():
        if info.type in RUNNABLE:
            values = file.read(key).values
            exact = values.view(np.int16) if info.type == "BF16" else values
            assert values.flags.c_contiguous
            assert exact.ravel().tolist() == GOLDENS[name][key]["values"], key
        else:
            with pytest.raises(UnsupportedError, match=f"is {info.type}, which cannot be run"):
                file.read(key)


def test_types_are_named_as_safetensors_names_them():
    types = {key: info.type for key, info in open_torch(DATA / "mixed.pt").infos.items()}
    assert types["f64"] == "F64" and types["i64"] == "I64" and types["flag"] == "BOOL"


def test_a_whole_module_is_a_program_and_refused_by_name():
    with pytest.raises(UnsupportedError, match=r"would call torch\.nn\.modules.*Nothing of it was executed"):
        open_torch(DATA / "module.pt")


@pytest.mark.parametrize("name", ["state-dict.pt", "mixed-legacy.pt"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_broken_file_is_one_error_and_never_a_wrong_tensor(name, data, tmp_path_factory):
    raw = bytearray((DATA / name).read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 6))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("broken") / name
    path.write_bytes(raw)
    try:
        file = open_torch(path)
        for key, info in file.infos.items():
            if info.type in RUNNABLE:
                assert file.read(key).shape == info.shape
    except FairwayError as error:
        assert error.message


def torch_zip(path: Path, program: bytes, storages: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", program)
        for key, numbers in storages.items():
            archive.writestr(f"model/data/{key}", numbers)
    return path


def tensor_program(count: int, offset: int, shape: tuple, stride: tuple) -> bytes:
    """A state dict with one float tensor over storage "0", as torch.save spells it."""
    out = io.BytesIO()
    writer = pickle._Pickler(out, 2)  # the Python one, whose parts can be called
    out.write(b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage")
    out.write(b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu")
    writer.save_long(count)
    out.write(b"tQ")
    writer.save_long(offset)
    for sizes in (shape, stride):
        out.write(b"(")
        for size in sizes:
            writer.save_long(size)
        out.write(b"t")
    out.write(b"\x89}tRs.")
    return out.getvalue()


def test_what_a_tensor_claims_is_compared_with_its_storage(tmp_path):
    numbers = np.arange(6, dtype=np.float32)
    good = torch_zip(tmp_path / "good.pt", tensor_program(6, 0, (2, 3), (3, 1)), {"0": numbers.tobytes()})
    assert open_torch(good).read("w").values.tolist() == [[0, 1, 2], [3, 4, 5]]
    lies = [
        tensor_program(6, 1, (2, 3), (3, 1)),
        tensor_program(6, 0, (2, 3), (4, 1)),
        tensor_program(7, 0, (7,), (1,)),
        tensor_program(6, 0, (1 << 40, 1 << 40), (0, 0)),
        tensor_program(6, -1, (2,), (1,)),
        tensor_program(-6, 0, (0,), (1,)),
    ]
    for program in lies:
        path = torch_zip(tmp_path / "lie.pt", program, {"0": numbers.tobytes()})
        with pytest.raises(FormatError):
            open_torch(path)
    path = torch_zip(tmp_path / "no-numbers.pt", tensor_program(6, 0, (6,), (1,)), {})
    with pytest.raises(FormatError, match="has no numbers"):
        open_torch(path)


class Trap:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_program_among_the_weights_is_named_and_not_run(tmp_path, protocol):
    target = tmp_path / "trapped"
    path = torch_zip(tmp_path / "trap.pt", pickle.dumps({"w": Trap(target)}, protocol), {})
    with pytest.raises(UnsupportedError, match=r"mkdir.*Nothing of it was executed"):
        open_torch(path)
    assert not target.exists()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers())
    ),
    max_leaves=12,
)


@given(value=PLAIN, protocol=st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_plain_containers_come_back_as_pickle_wrote_them(value, protocol):
    found = read_values(io.BytesIO(pickle.dumps(value, protocol)), {}, lambda _: None, "a pickle")
    assert found == value


def test_containers_within_themselves_are_walked_once(tmp_path):
    loop: list = []
    loop += [loop] * 50
    path = torch_zip(tmp_path / "loop.pt", pickle.dumps({"a": loop}, 2), {})
    with pytest.raises(FormatError, match="holds no tensors"):
        open_torch(path)


def test_a_folder_of_pickled_shards_runs_as_one_model(folder, tmp_path):
    """The same tensors as the folder's safetensors, in two files joined by an index."""
    wanted = open_bundle(folder)
    table = wanted.tensors.read("model.embed_tokens.weight").values.tolist()
    (folder / "model.safetensors").unlink()
    numbers = np.arange(6 * 32, dtype=np.float32)
    torch_zip(
        folder / "pytorch_model-1.bin", tensor_program(192, 0, (6, 32), (32, 1)), {"0": numbers.tobytes()}
    )
    torch_zip(folder / "pytorch_model-2.bin", tensor_program(4, 0, (4,), (1,)), {"0": bytes(16)})
    index = {"weight_map": {"w": "pytorch_model-1.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    bundle = open_bundle(folder)
    assert bundle.container == "huggingface" and bundle.config == wanted.config
    assert bundle.tensors.read("w").values.tolist() == table


def test_files_of_others_are_read(shared):
    for path in sorted((shared / "models" / "torch-pickles").glob("*.pt")):
        if path.name == "broken.pt":
            with pytest.raises(FormatError, match="broken pickle"):
                open_torch(path)
        else:
            assert open_torch(path).infos
    assert len(open_bundle(shared / "models/mnist/mnist.pt", complete=False).tensors.infos) == 20


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    for path in sorted(DATA.glob("*.pt")):
        if path.name == "module.pt":
            continue
        value = torch.load(path, weights_only=True)
        value = value.get("model", value)
        file = open_torch(path)
        for key, info in file.infos.items():
            if info.type == "F32":
                assert np.array_equal(file.read(key).values, value[key].detach().numpy()), (path.name, key)
