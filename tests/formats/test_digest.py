"""The same content has the same digest, however it is stored; other content has another one."""

import json
import os
import shutil

import numpy as np
import pytest
from format_models import numbers
from hypothesis import given
from hypothesis import strategies as st

from fairway.formats.digest import PIECE_BYTES, bundle_digest, bytes_digest, canonical
from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import TensorData, tensor_data, write_safetensors


def digest(path):
    return bundle_digest(open_bundle(path, complete=False))


@pytest.fixture
def copy(folder, tmp_path_factory):
    """The same folder elsewhere."""
    return shutil.copytree(folder, tmp_path_factory.mktemp("elsewhere") / "another name")


def test_place_name_and_times_do_not_matter(folder, copy):
    os.utime(copy / "model.safetensors", (0, 0))
    assert digest(folder) == digest(copy)
    assert digest(folder).value.startswith("sha256:")


def test_sharding_order_and_header_metadata_do_not_matter(folder, copy):
    whole = open_bundle(folder)
    tensors = {name: tensor_data(whole.tensors.read(name)) for name in whole.tensors.infos}
    (copy / "model.safetensors").unlink()
    for number, name in enumerate(reversed(list(tensors))):
        write_safetensors(copy / f"{number}.safetensors", {name: tensors[name]}, {"format": "pt"})
    place = {name: f"{number}.safetensors" for number, name in enumerate(reversed(list(tensors)))}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
    assert digest(copy) == digest(folder)


def test_how_json_is_written_does_not_matter(folder, copy):
    config = json.loads((folder / "config.json").read_text())
    config |= {"_name_or_path": "/somewhere", "transformers_version": "9"}
    (copy / "config.json").write_text(json.dumps(dict(reversed(config.items())), indent=4))
    assert digest(copy) == digest(folder)


def test_lineage_is_no_content(folder, copy):
    (copy / "fairway.json").write_text('{"version": 1, "digest": null, "steps": []}')
    assert digest(copy) == digest(folder)


def change_weight(path):
    raw = bytearray((path / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (path / "model.safetensors").write_bytes(raw)


CHANGES = {
    "weights": change_weight,
    "config": lambda path: (path / "config.json").write_text(
        (path / "config.json").read_text().replace('"hidden_size": 32', '"hidden_size": 64')
    ),
    "tokenizer": lambda path: (path / "tokenizer.json").write_text('{"added_tokens": []}'),
    "chat_template": lambda path: (path / "chat_template.jinja").write_text("{{ x }}"),
    "generation": lambda path: (path / "generation_config.json").write_text('{"top_k": 3}'),
    "end_of_text_ids": lambda path: (path / "generation_config.json").write_text('{"eos_token_id": 1}'),
    "licence": lambda path: (path / "LICENSE").write_text("MIT"),
    "pooling": lambda path: (path / "modules.json").write_text(
        '[{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]'
    ),
}


@pytest.mark.parametrize("part", CHANGES)
def test_each_part_counts_and_says_that_it_changed(folder, copy, part):
    CHANGES[part](copy)
    before, after = digest(folder), digest(copy)
    assert before.value != after.value
    changed = {name for name in before.parts if before.parts[name] != after.parts[name]}
    assert part in changed
    assert changed <= {part, "end_of_text_ids"}


def test_a_type_that_cannot_be_run_is_hashed_all_the_same(tmp_path):
    data = np.arange(6, dtype=np.int64)
    write_safetensors(tmp_path / "a.safetensors", {"steps": tensor_data(data)})
    write_safetensors(tmp_path / "b.safetensors", {"steps": tensor_data(data.reshape(2, 3))})
    first, second = digest(tmp_path / "a.safetensors"), digest(tmp_path / "b.safetensors")
    assert first.parts["weights"] != second.parts["weights"]


def test_gguf_weights_have_the_digest_of_the_folder(make_gguf, tmp_path):
    """Rows of q stand in another order in a GGUF file; the content is the same."""
    values = numbers(32, 32)
    pairs = values.reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(32, 32)
    gguf = make_gguf({"blk.0.attn_q.weight": pairs, "token_embd.weight": numbers(4, 32)})
    stored = {"model.layers.0.self_attn.q_proj.weight": values, "model.embed_tokens.weight": numbers(4, 32)}
    data = {name: tensor_data(value) for name, value in stored.items()}
    write_safetensors(tmp_path / "same.safetensors", data)
    same, other = digest(tmp_path / "same.safetensors"), digest(gguf)
    assert same.parts["weights"] == other.parts["weights"]
    assert same.value != other.value


def test_more_than_a_piece_is_hashed_alike_with_and_without_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    raw = np.random.default_rng(0).integers(0, 256, 2 * PIECE_BYTES + 5, np.uint8)
    with ThreadPoolExecutor(3) as threads:
        assert bytes_digest(raw) == bytes_digest(raw, threads)
    size = len(raw)
    write_safetensors(tmp_path / "m.safetensors", {"x": TensorData("U8", (size,), lambda: [raw.tobytes()])})
    assert (
        open_bundle(tmp_path / "m.safetensors", complete=False).tensors.stored("x").tobytes() == raw.tobytes()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), JSON))
def test_canonical_json_has_one_spelling(value):
    again = json.loads(json.dumps(dict(reversed(value.items())), indent=2))
    assert canonical(again) == canonical(value)
