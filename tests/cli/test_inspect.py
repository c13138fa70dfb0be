"""`fairway inspect`: complete, quick whatever the size, and never fooled."""

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fairway.cli.inspect import count, inspect, printable, size
from fairway.errors import FairwayError, FormatError, ModelNotFound, UnsupportedError
from fairway.formats.gguf_writer import gguf_data, write_gguf
from fairway.formats.safetensors_writer import tensor_data, write_safetensors

SHARED = Path(__file__).parents[3] / "shared" / "data"
HUNDRED_GB = 100_000_000_000


def run(*arguments):
    result = CliRunner().invoke(inspect, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def model(tmp_path):
    tensors = {
        "model.embed_tokens.weight": np.zeros((10, 32), np.float32),
        "model.norm.weight": np.zeros(32, np.float16),
    }
    write_safetensors(
        tmp_path / "model.safetensors", {name: tensor_data(value) for name, value in tensors.items()}
    )
    config = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config |= {"num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": 10, "eos_token_id": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": {}}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    return tmp_path


def test_everything_is_in_the_json(model):
    facts = json.loads(run(model, "--json"))
    assert facts["architecture"] == "llama"
    assert (facts["num_parameters"], facts["num_tensors"], facts["weight_bytes"]) == (352, 2, 1344)
    assert facts["types"]["F32"] == {"num_tensors": 1, "num_elements": 320, "num_bytes": 1280}
    assert (facts["context_length"], facts["vocab_size"]) == (64, 10)
    assert (facts["tokenizer"], facts["has_chat_template"], facts["licence"]) == (
        "tokenizer.json",
        True,
        "mit",
    )
    assert facts["end_of_text_ids"] == [3]
    assert facts["kv_bytes_per_token"] == 2 * 2 * 2 * 8 * 2
    assert facts["memory"] == [{"context": 64, "weight_bytes": 1344, "kv_bytes": 8192, "total_bytes": 9536}]
    assert facts["cannot_run"] is None
    assert facts["config"]["hidden_size"] == 32
    assert "tensors" not in facts


def test_tensors_and_context_on_demand(model):
    facts = json.loads(run(model, "--json", "--tensors", "--context", "10"))
    assert facts["tensors"][0] == {
        "name": "model.embed_tokens.weight", "type": "F32", "shape": [10, 32], "num_bytes": 1280,
    }  # fmt: skip
    assert facts["memory"] == [{"context": 10, "weight_bytes": 1344, "kv_bytes": 1280, "total_bytes": 2624}]


def test_everything_is_in_the_table(model):
    output = run(model, "--tensors")
    for words in (
        "llama", "2 layers, width 32, 4 heads, 2 for keys and values", "352 in 2 tensors", "64 tokens", "mit",
        "tokenizer.json, 10 tokens", "9.31 KiB at 64 tokens (1.31 KiB weights, 8.00 KiB cache)", "10 x 32",
        "F16",
    ):  # fmt: skip
        assert words in output


def test_what_keeps_a_model_from_running_is_said(model):
    (model / "tokenizer.json").unlink()
    assert "Cannot be run as it is" in run(model)
    assert "has no tokenizer.json" in json.loads(run(model, "--json"))["cannot_run"]


def test_a_hundred_gigabytes_of_safetensors_are_not_read(tmp_path):
    count = HUNDRED_GB // 8 // 2
    shape = [count // 1000, 1000]
    entries = {
        f"t{i}": {"dtype": "BF16", "shape": shape, "data_offsets": [i * count * 2, (i + 1) * count * 2]}
        for i in range(8)
    }
    header = json.dumps(entries).encode()
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 8 * count * 2)
    started = time.process_time()
    facts = json.loads(run(path, "--json"))
    assert time.process_time() - started < 10
    assert facts["weight_bytes"] == HUNDRED_GB
    assert facts["num_parameters"] == HUNDRED_GB // 2


def test_a_hundred_gigabytes_of_gguf_are_not_read(tmp_path):
    path = tmp_path / "huge.gguf"
    metadata = {"general.architecture": "llama", "llama.block_count": 80, "llama.context_length": 131072}
    metadata |= {
        "llama.embedding_length": 8192,
        "llama.attention.head_count": 64,
        "llama.attention.head_count_kv": 8,
    }
    rows = HUNDRED_GB // 144
    small = gguf_data("Q4_K", (1, 256), np.zeros(144, np.uint8))
    write_gguf(path, metadata, {"token_embd.weight": small})
    header = path.read_bytes()
    shape = struct.pack("<QQ", 256, 1)
    assert header.count(shape) == 1
    with path.open("wb") as file:
        file.write(header.replace(shape, struct.pack("<QQ", 256, rows)))
        file.truncate(len(header) + rows * 144)
    started = time.process_time()
    facts = json.loads(run(path, "--json", "--context", "4096"))
    assert time.process_time() - started < 10
    assert facts["types"]["Q4_K"]["num_bytes"] == rows * 144
    assert facts["memory"][0]["kv_bytes"] == 4096 * 2 * 80 * 8 * 128 * 2


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (
            b"\x80\x04\x95\x21\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
            UnsupportedError,
            "posix.system",
        ),
        (b"\x93NUMPY\x01\x00", UnsupportedError, "NumPy array"),
        (b"PK\x03\x04", UnsupportedError, "zip archive"),
        (b"hello", FormatError, "a text file"),
        (b"", FormatError, "an empty file"),
    ],
)
def test_other_files_are_named_and_not_executed(tmp_path, data, error, words):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(error, match="Nothing of it was executed") as caught:
        run(path)
    assert words in caught.value.message


def test_every_hostile_file_of_others_is_refused():
    if not SHARED.is_dir():
        pytest.skip("the hostile files lie beside the project, not in it")
    harmless = "new_pytorch_model.bin"
    for path in sorted((SHARED / "malicious").rglob("*.*")):
        if path.name == harmless:
            continue
        with pytest.raises(FairwayError, match="Nothing of it was executed"):
            run(path)


def test_a_pytorch_file_is_read_and_not_executed():
    shown = " ".join(run(Path(__file__).parents[1] / "formats/data/torch/state-dict.pt").split())
    assert "nothing of it was executed" in shown and "torch" in shown


def test_nothing_there(tmp_path):
    with pytest.raises(ModelNotFound, match="There is nothing at"):
        run(tmp_path / "absent")


def test_names_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "m.gguf"
    evil = "\x1b[2Jgone\r\n[bold]x[/bold]\u202e"
    write_gguf(
        path,
        {"general.architecture": "llama", "general.name": evil},
        {evil: gguf_data("F32", (1,), np.ones(1, np.float32))},
    )
    output = run(path, "--tensors")
    assert "\x1b[2J" not in output
    assert "\u202e" not in output
    assert "\\u001b[2Jgone" in output
    assert "[bold]x[/bold]" in output


def test_infinity_in_a_config_stays_valid_json(model):
    (model / "config.json").write_text('{"model_type": "llama", "limit": [0.0, Infinity], "other": NaN}')
    config = json.loads(run(model, "--json"), parse_constant=pytest.fail)["config"]
    assert config == {"model_type": "llama", "limit": [0.0, None], "other": None}


def test_words_for_numbers():
    assert [count(number) for number in (0, 999, 260_032, 7_241_732_096)] == ["0", "999", "260 k", "7.24 B"]
    assert [size(number) for number in (5, 1024, 4 << 30)] == ["5 bytes", "1.00 KiB", "4.00 GiB"]
    assert printable("a\tb") == "a\\u0009b"


def test_digest_and_lineage_are_told(model):
    from fairway.formats.lineage import Lineage, Origin, Step

    facts = json.loads(run(model, "--json", "--digest"))
    digest = facts["digest"]["value"]
    assert digest.startswith("sha256:")
    assert facts["lineage"] is None
    step = Step("torch -> safetensors", (Origin("old", "torch", "sha256:1234"),), tools={"fairway": "1"})
    (model / "fairway.json").write_text(Lineage(digest, (step,)).to_json())
    plain = "".join(run(model).split())
    assert f"{digest},aspublished" in plain
    assert "old(sha256:1234)bytorch->safetensors" in plain
    assert json.loads(run(model, "--json"))["lineage"]["steps"][0]["hop"] == "torch -> safetensors"
    (model / "generation_config.json").write_text('{"top_k": 3}')
    assert f"publishedas{digest}" in "".join(run(model, "--digest").split())


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"peft_type": "LORA", "r": 4, "rank_pattern": {"q_proj": 9}}, "LoRA of rank 9"),
        ({"peft_type": "LORA", "r": 4, "use_dora": True}, "DoRA of rank 4"),
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 20}, "prefix of 20 tokens"),
        ({"peft_type": "IA3"}, "IA3"),
    ],
)
def test_an_adapter_is_called_one(stated, said, tmp_path):
    config = stated | {"base_model_name_or_path": "base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    write_safetensors(
        tmp_path / "adapter_model.safetensors", {"a": tensor_data(np.zeros((2, 2), np.float32))}
    )
    printed = run(tmp_path)
    assert f"{said}, of base" in printed
    assert "beside its model" in printed
    assert "chat template" not in printed
    assert json.loads(run(tmp_path, "--json"))["adapter"] == f"{said}, of base"
