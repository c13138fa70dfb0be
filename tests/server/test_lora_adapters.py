"""Adapters over HTTP as the official client sees them: chosen by name, loaded and unloaded while serving."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from adapter_models import LORA, saved_runtime
from serving import serving

from fairway.formats.lora_gguf import write_gguf_adapter
from fairway.formats.lora_open import open_adapter

DATA = Path(__file__).parents[1] / "runtimes" / "data"
GOLDEN = json.loads((DATA / "adapters.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """PEFT's folders and one as GGUF, a link out of it, and a stranger's adapter."""
    made = tmp_path_factory.mktemp("adapters")
    for name in ("plain", "patterns", "dora", "gpt2"):
        shutil.copytree(LORA / name, made / name)
    config = json.loads((LORA / "base-llama" / "config.json").read_text())
    shutil.copytree(DATA / "prefixes" / "prefix", made / "prefix")
    write_gguf_adapter(open_adapter(LORA / "plain", config), made / "plain.gguf", config)
    (made / "link").symlink_to(LORA / "plain")
    return made


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    runtime = saved_runtime(tmp_path_factory.mktemp("model"), max_loras=3)
    with serving(runtime, lora_folder=str(folder)) as running:
        yield running


@pytest.fixture
def http(server):
    """Every test begins and ends without adapters."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
        for model in client.get("/v1/models").json()["data"]:
            if model["parent"]:
                client.post("/v1/unload_lora_adapter", json={"lora_name": model["id"]}).raise_for_status()


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


def load(http, name, path, **more):
    return http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(path), **more})


def tokens(client, model, max_tokens=12):
    answer = client.completions.create(
        model=model,
        prompt=GOLDEN["prompt"],
        max_tokens=max_tokens,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    assert answer.model == model
    return answer.choices[0].text


@pytest.fixture
def expected(http):
    """Texts of the tokens that PEFT computed; an answer does not show the end of text."""
    return {
        name: http.post("/detokenize", json={"tokens": ids}).json()["prompt"].replace("</s>", "")
        for name, ids in GOLDEN["tokens"].items()
        if name not in ("gpt2", "base-gpt2")
    }


def test_each_name_answers_as_peft_does(http, client, expected, folder) -> None:
    answer = load(http, "poet", "plain")
    assert (answer.status_code, answer.text) == (200, "Success: LoRA adapter 'poet' added successfully.")
    assert load(http, "clerk", folder / "patterns").status_code == 200
    assert load(http, "ft:base:mine:abc", "plain.gguf").status_code == 200
    for model, name in (
        ("base", "base-llama"),
        ("poet", "plain"),
        ("base:poet", "plain"),
        ("clerk", "patterns"),
        ("base:clerk", "patterns"),
        ("ft:base:mine:abc", "plain"),
    ):
        assert tokens(client, model) == expected[name], model


def test_answers_of_a_mixed_batch(http, client, expected) -> None:
    load(http, "poet", "plain")
    load(http, "clerk", "patterns")
    asks = ["poet", "base", "clerk"] * 6
    found = [""] * len(asks)

    def ask(number):
        found[number] = tokens(client, asks[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {"poet": "plain", "base": "base-llama", "clerk": "patterns"}
    for model, text in zip(asks, found, strict=True):
        assert text == expected[names[model]], model


def test_the_list_of_models_names_their_parent(http, client) -> None:
    load(http, "poet", "plain")
    base, poet = client.models.list().data
    assert (base.id, base.parent, base.lora_rank) == ("base", None, None)
    assert (poet.id, poet.parent, poet.lora_rank) == ("poet", "base", 4)
    assert poet.num_parameters > base.num_parameters
    assert client.models.retrieve("poet").id == client.models.retrieve("base:poet").id == "poet"


def test_a_prefix_is_an_adapter_as_any_other(http, client, expected) -> None:
    """Loaded while serving, beside LoRA in a batch; its virtual tokens take room and are no prompt."""
    load(http, "poet", "plain")
    assert load(http, "before", "prefix").status_code == 200
    ids = json.loads((DATA / "prefixes.json").read_text())["prefix"]
    text = http.post("/detokenize", json={"tokens": ids}).json()["prompt"].replace("</s>", "")
    wanted = {"base": expected["base-llama"], "poet": expected["plain"], "before": text, "base:before": text}
    asks = list(wanted) * 4
    with ThreadPoolExecutor(len(asks)) as pool:
        assert list(pool.map(lambda model: tokens(client, model), asks)) == [wanted[each] for each in asks]
    base, before = client.models.retrieve("base"), client.models.retrieve("base:before")
    assert (before.lora_rank, before.virtual_tokens, before.parent) == (None, 6, "base")
    assert before.max_model_len == base.max_model_len - 6
    ask = {"prompt": GOLDEN["prompt"], "max_tokens": 2, "temperature": 0}
    found = {model: client.completions.create(model=model, **ask).usage for model in ("base", "before")}
    assert found["before"].prompt_tokens == found["base"].prompt_tokens == len(GOLDEN["prompt"])
    with pytest.raises(openai.BadRequestError, match="59 tokens, its adapter 6 before it; the context holds"):
        client.completions.create(model="before", prompt=[3] * 59, max_tokens=1)
    assert http.post("/v1/unload_lora_adapter", json={"lora_name": "before"}).status_code == 200
    with pytest.raises(openai.NotFoundError, match="There is no model 'before' here"):
        tokens(client, "before")


def test_what_is_unloaded_is_gone_and_another_of_its_name_answers_for_itself(http, client, expected) -> None:
    load(http, "poet", "plain")
    assert tokens(client, "poet") == expected["plain"]
    answer = http.post("/v1/unload_lora_adapter", json={"lora_name": "poet"})
    assert (answer.status_code, answer.text) == (200, "Success: LoRA adapter 'poet' removed successfully.")
    with pytest.raises(openai.NotFoundError, match=r"There is no model 'poet' here\. Served: base"):
        tokens(client, "poet")
    load(http, "poet", "patterns")
    assert tokens(client, "poet") == expected["patterns"]
    assert load(http, "poet", "plain", load_inplace=True).status_code == 200
    assert tokens(client, "poet") == expected["plain"]


def test_a_running_answer_survives_the_unloading_of_its_adapter(http, client, expected) -> None:
    load(http, "poet", "plain")
    stream = client.completions.create(
        model="poet", prompt=GOLDEN["prompt"], max_tokens=50, temperature=0, stream=True,
        extra_body={"ignore_eos": True},
    )  # fmt: skip
    next(iter(stream))
    assert http.post("/v1/unload_lora_adapter", json={"lora_name": "poet"}).status_code == 200
    reasons = [chunk.choices[0].finish_reason for chunk in stream]
    assert reasons[-1] == "length"


def test_what_is_wrong_is_one_sentence(http, folder) -> None:
    load(http, "poet", "plain")
    cases = [
        ({"lora_name": "poet", "lora_path": "plain"}, 400, "An adapter 'poet' is loaded already."),
        ({"lora_name": "base", "lora_path": "plain"}, 400, "The name 'base' is taken."),
        ({"lora_name": "", "lora_path": "plain"}, 400, "An adapter's name has 1 to 200"),
        ({"lora_path": "plain"}, 400, "The field lora_name is missing."),
        ({"lora_name": "new"}, 400, "The field lora_path is missing."),
        ({"lora_name": "new", "lora_path": "plain", "rank": 4}, 400, "The field rank is unknown."),
        ({"lora_name": "new", "lora_path": "nowhere"}, 404, "There is no adapter at"),
        ({"lora_name": "new", "lora_path": "../x"}, 403, "lora_path lies outside the folder of adapters."),
        ({"lora_name": "new", "lora_path": "/etc"}, 403, "lora_path lies outside the folder of adapters."),
        ({"lora_name": "new", "lora_path": "link"}, 403, "lora_path lies outside the folder of adapters."),
        ({"lora_name": "new", "lora_path": "a\0b"}, 400, "lora_path holds a zero byte."),
        ({"lora_name": "new", "lora_path": "plain", "model": "x"}, 404, "There is no model 'x' here."),
        ({"lora_name": "new", "lora_path": "dora"}, 501, "DoRA"),
        ({"lora_name": "new", "lora_path": "gpt2"}, 422, "which this model does not have."),
        ({"lora_name": "new", "lora_path": "."}, 422, "has no adapter_config.json"),
    ]
    for body, status, message in cases:
        answer = http.post("/v1/load_lora_adapter", json=body)
        assert (answer.status_code, message in answer.json()["error"]["message"]) == (status, True), (
            answer.text
        )
    answer = http.post("/v1/unload_lora_adapter", json={"lora_name": "nobody"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "lora_name")


def test_without_the_setting_nothing_is_loaded(tmp_path) -> None:
    runtime = saved_runtime(tmp_path, max_loras=0)
    with serving(runtime) as server, httpx.Client(base_url=server.url) as http:
        for path in ("load", "unload"):
            answer = http.post(
                f"/v1/{path}_lora_adapter",
                json={"lora_name": "x"} | ({"lora_path": "y"} if path == "load" else {}),
            )
            assert answer.status_code == 403
            assert "--lora-folder" in answer.json()["error"]["message"]
            assert answer.json()["error"]["code"] == "loading_refused"
    with serving(saved_runtime(tmp_path / "again", max_loras=0), lora_folder=str(LORA)) as server:
        answer = httpx.post(
            f"{server.url}/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": "plain"}
        )
        assert (answer.status_code, "takes no adapters" in answer.text) == (501, True)
