"""Downloads against a local hub: what is fetched, continued, kept, refused."""

import json
import random
import time
from pathlib import Path

import pytest
from hub_server import Hub, Repo

WEIGHTS = random.Random(0).randbytes(3 << 20)
SMALL = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "README.md": b"# words"}


def wait_for_bytes(home: Path) -> int:
    """Until the partial file has something in it."""
    for _ in range(3000):
        for partial in home.rglob("*.fairway-partial"):
            if size := partial.stat().st_size:
                return size
        time.sleep(0.01)
    raise AssertionError("nothing arrived")


def folder(**more: bytes) -> Repo:
    return Repo(SMALL | {"model.safetensors": WEIGHTS} | more)


def test_a_folder_brings_what_a_model_needs_and_nothing_else(hub: Hub, client):
    hub.repos["org/name"] = Repo(
        SMALL
        | {"model.safetensors": WEIGHTS, "pytorch_model.bin": b"pickle", "consolidated.safetensors": b"same"}
    )
    found = client.resolve("org/name")
    assert found["origin"] == "hub" and found["name"] == "org/name"
    here = {path.name for path in Path(found["path"]).iterdir()}
    assert here == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (Path(found["path"]) / "model.safetensors").read_bytes() == WEIGHTS


def test_progress_counts_every_byte_once(hub: Hub, client):
    hub.repos["org/name"] = folder()
    progress = client.resolve("org/name")["progress"]
    done, total, _ = progress[-1]
    assert (
        done == total == sum(len(content) for name, content in folder().files.items() if name != "README.md")
    )
    assert [step[0] for step in progress] == sorted(step[0] for step in progress)


def test_the_second_time_no_file_is_fetched(hub: Hub, client):
    hub.repos["org/name"] = folder()
    first = client.resolve("org/name")
    hub.requests.clear()
    assert client.resolve("org/name")["path"] == first["path"]
    assert [path for _, path, _ in hub.requests if "/resolve/" in path or "/cdn/" in path] == []


def test_what_is_here_works_offline(hub: Hub, client):
    hub.repos["org/name"] = folder()
    first = client.resolve("org/name")
    hub.requests.clear()
    assert client.resolve("org/name", HF_HUB_OFFLINE="1")["path"] == first["path"]
    assert client.resolve("org/name", HF_ENDPOINT="http://127.0.0.1:9")["path"] == first["path"]
    assert hub.requests == []


def test_a_changed_model_is_fetched_again(hub: Hub, client):
    hub.repos["org/name"] = folder()
    first = client.resolve("org/name")
    hub.repos["org/name"].files["config.json"] = b'{"model_type": "qwen2"}'
    second = client.resolve("org/name")
    assert second["path"] != first["path"]
    assert b"qwen2" in (Path(second["path"]) / "config.json").read_bytes()
    assert len(hub.fetched("model.safetensors")) == 2  # a redirect and the content, once


def test_a_killed_download_continues_where_it_stopped(hub: Hub, client):
    hub.repos["org/name"] = folder()
    hub.break_after_bytes = len(WEIGHTS) // 2
    process = client.start("org/name")
    assert hub.half_sent.wait(30)
    kept = wait_for_bytes(client.home)
    process.kill()
    process.communicate()
    hub.break_after_bytes = None
    hub.requests.clear()
    found = client.resolve("org/name")
    assert (Path(found["path"]) / "model.safetensors").read_bytes() == WEIGHTS
    assert kept == 1 << 20
    assert set(hub.fetched("model.safetensors")) == {f"bytes={kept}-"}
    assert list(client.home.rglob("*.fairway-partial")) == []


def test_a_partial_file_is_continued_by_range(hub: Hub, client):
    hub.repos["org/name"] = folder()
    found = client.resolve("org/name")
    blob = (Path(found["path"]) / "model.safetensors").resolve()
    blob.with_name(blob.name + ".fairway-partial").write_bytes(WEIGHTS[: 2 << 20])
    blob.unlink()
    (Path(found["path"]) / "model.safetensors").unlink()
    hub.requests.clear()
    assert client.resolve("org/name")["path"] == found["path"]
    assert set(hub.fetched("model.safetensors")) == {f"bytes={2 << 20}-"}
    assert (Path(found["path"]) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_partial_file_that_is_too_long_starts_over(hub: Hub, client):
    hub.repos["org/name"] = folder()
    found = client.resolve("org/name")
    blob = (Path(found["path"]) / "model.safetensors").resolve()
    blob.with_name(blob.name + ".fairway-partial").write_bytes(WEIGHTS + b"more")
    blob.unlink()
    (Path(found["path"]) / "model.safetensors").unlink()
    assert Path(client.resolve("org/name")["path"], "model.safetensors").read_bytes() == WEIGHTS


def test_a_server_without_ranges_starts_over(hub: Hub, client):
    hub.repos["org/name"] = folder()
    found = client.resolve("org/name")
    blob = (Path(found["path"]) / "model.safetensors").resolve()
    blob.with_name(blob.name + ".fairway-partial").write_bytes(b"x" * (2 << 20))
    blob.unlink()
    (Path(found["path"]) / "model.safetensors").unlink()
    hub.ignore_ranges = True
    again = client.resolve("org/name")
    assert (Path(again["path"]) / "model.safetensors").read_bytes() == WEIGHTS
    assert again["progress"][-1][0] == again["progress"][-1][1]


def test_damaged_bytes_are_not_kept(hub: Hub, client):
    hub.repos["org/name"] = folder()
    hub.corrupt = True
    failed = client.resolve("org/name")
    assert failed["error"] == "FormatError" and "model.safetensors arrived damaged" in failed["message"]
    hub.corrupt = False
    assert client.resolve("org/name")["origin"] == "hub"


def test_offline_without_the_model_is_one_sentence(client):
    failed = client.resolve("org/name", HF_HUB_OFFLINE="1")
    assert failed["error"] == "OfflineError"
    assert failed["message"] == "org/name is not on this disk and HF_HUB_OFFLINE is set."
    failed = client.resolve("org/name", HF_ENDPOINT="http://127.0.0.1:9")
    assert failed["error"] == "OfflineError"
    assert failed["message"].startswith("org/name cannot be fetched: http://127.0.0.1:9 cannot be reached (")
    assert "continues where it stopped" in failed["hint"]


def test_a_gated_model_says_where_to_accept(hub: Hub, client):
    hub.repos["org/name"] = Repo(folder().files, gated=True)
    failed = client.resolve("org/name")
    assert failed["error"] == "NotAuthorized" and "gated" in failed["message"]
    assert "https://huggingface.co/org/name" in failed["hint"] and "HF_TOKEN" in failed["hint"]
    assert client.resolve("org/name", HF_TOKEN="hf_good")["origin"] == "hub"
    assert hub.tokens_at_cdn == 0


def test_an_unknown_model_names_a_near_one(hub: Hub, client):
    hub.repos["org/small-llama"] = folder()
    client.resolve("org/small-llama")
    failed = client.resolve("org/smal-lama")
    assert failed["error"] == "ModelNotFound" and "org/smal-lama" in failed["message"]
    assert "Did you mean org/small-llama?" in failed["hint"]


def test_shards_are_those_of_the_index(hub: Hub, client):
    shards = {f"model-0000{i}-of-00002.safetensors": random.Random(i).randbytes(5000) for i in (1, 2)}
    index = json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(shards)}}).encode()
    stale = {"model-00001-of-00009.safetensors": b"old"}
    hub.repos["org/name"] = Repo(SMALL | shards | stale | {"model.safetensors.index.json": index})
    here = {path.name for path in Path(client.resolve("org/name")["path"]).iterdir()}
    assert here == {"config.json", "tokenizer.json", "model.safetensors.index.json", *shards}


@pytest.mark.parametrize("selector", ["name-Q4_K_M.gguf", "Q4_K_M", "q4_k_m"])
def test_one_quantisation_of_many(hub: Hub, client, selector):
    hub.repos["org/name-GGUF"] = Repo(
        {"name-Q4_K_M.gguf": WEIGHTS, "name-Q8_0.gguf": b"q8", "name-Q4_0.gguf": b"q4", "README.md": b"x"}
    )
    found = client.resolve(f"org/name-GGUF:{selector}")
    assert Path(found["path"]).name == "name-Q4_K_M.gguf"
    assert Path(found["path"]).read_bytes() == WEIGHTS
    assert hub.fetched("name-Q8_0.gguf") == []
    assert client.resolve(f"org/name-GGUF:{selector}", HF_HUB_OFFLINE="1")["path"] == found["path"]


def test_a_full_disk_is_found_out_before_the_first_byte(hub: Hub, client, tmp_path):
    hub.repos["org/name"] = folder()
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import shutil, collections\n"
        "usage = collections.namedtuple('usage', 'total used free')\n"
        "shutil.disk_usage = lambda path: usage(10**9, 10**9, 1000)\n"
    )
    path = f"{site}:{client.environment.get('PYTHONPATH', '')}"
    failed = client.resolve("org/name", PYTHONPATH=path)
    assert failed["error"] == "DoesNotFit" and "0.0 GB are free" in failed["message"]
    assert hub.fetched("model.safetensors") == []
