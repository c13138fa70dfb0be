"""/v1/files as the official client sees it."""

import time

import httpx
import openai
import pytest
from serving import serving
from stack import make_runtime

from fairway.tune.jobs import files as stored

ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def server(state):
    with serving(
        make_runtime(), state_folder=str(state), max_upload_bytes=5000, max_files_bytes=12_000
    ) as server:
        yield server


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_file_comes_is_read_and_goes(client, state) -> None:
    assert not state.exists()  # nothing is written before something is sent
    assert client.files.list().data == []
    made = client.files.create(file=("training data.jsonl", ROW * 3), purpose="fine-tune")
    assert (made.object, made.filename, made.bytes, made.purpose, made.status) == (
        "file",
        "training data.jsonl",
        3 * len(ROW),
        "fine-tune",
        "processed",
    )
    assert abs(made.created_at - time.time()) < 100
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == ROW * 3
    assert [each.id for each in client.files.list()] == [made.id]
    gone = client.files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match="There is no file"):
            ask(made.id)
    assert [*(state / "files").iterdir()] == []


def test_files_are_there_after_a_restart_and_listed_page_by_page(state, client) -> None:
    names = [
        client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data" if n % 2 else "batch").id
        for n in range(5)
    ]
    with (
        serving(make_runtime(), state_folder=str(state)) as server,
        openai.OpenAI(base_url=server.url + "/v1", api_key="none") as other,
    ):
        assert {each.id for each in other.files.list(limit=2)} == set(names)
        first = other.files.list(limit=2)
        assert (len(first.data), first.has_more) == (2, True)
        oldest, newest = ([each.id for each in other.files.list(order=order)] for order in ("asc", "desc"))
        assert oldest == newest[::-1]
        assert {each.purpose for each in other.files.list(purpose="batch")} == {"batch"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "training.jsonl is empty"),
        (b'{"messages": [}\n', "training.jsonl line 1"),
        (b'{"what": "else"}\n', "training.jsonl line 1"),
        (b"\xff\xfe\xff", "training.jsonl"),
    ],
)
def test_a_file_that_nothing_is_learned_from_is_refused(client, state, content, said) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as refused:
        client.files.create(file=("training.jsonl", content), purpose="fine-tune")
    assert (refused.value.code, refused.value.param) == ("invalid_file", "file")
    assert str(state) not in str(refused.value)
    assert client.files.list().data == []
    assert [*(state / "files").iterdir()] == []
    assert client.files.create(file=("training.jsonl", content), purpose="user_data").bytes == len(content)


def test_limits_have_names(client, state) -> None:
    with pytest.raises(openai.APIStatusError, match="max_upload_bytes") as refused:
        client.files.create(file=("big", b"x" * 5001), purpose="user_data")
    assert refused.value.status_code == 413
    for _ in range(2):
        client.files.create(file=("half", b"x" * 5000), purpose="user_data")
    with pytest.raises(openai.APIStatusError, match="max_files_bytes") as refused:
        client.files.create(file=("more", b"x" * 2001), purpose="user_data")
    assert refused.value.status_code == 507
    assert len([*(state / "files").iterdir()]) == 2


def test_a_name_decides_no_path(client, state) -> None:
    for name in ("../../etc/passwd", "..", "/", "a\\b\\..\\c.jsonl", "Zoë.jsonl", "x" * 300, ".hidden"):
        made = client.files.create(file=(name, b"here"), purpose="user_data")
        assert made.filename == name
        assert client.files.content(made.id).content == b"here"
        (found,) = (state / "files" / made.id / "data").iterdir()
        assert found.read_bytes() == b"here"
    for file_id in ("..%2fjobs", "%2e%2e", "file-" + "0" * 24, "x"):
        assert httpx.get(f"{client.base_url}files/{file_id}").status_code == 404


def test_files_expire_when_told(client, monkeypatch) -> None:
    made = client.files.create(
        file=("x", b"x"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at == made.created_at + 3600
    later = time.time() + 3601
    monkeypatch.setattr(stored.time, "time", lambda: later)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_wrong_forms_are_one_sentence_and_leave_nothing(server, state) -> None:
    url = f"{server.url}/v1/files"
    one = {"file": ("a", b"x")}
    cases = [
        (httpx.post(url, json={}), 415, "multipart/form-data"),
        (httpx.post(url, files=one), 400, "The field purpose is missing."),
        (httpx.post(url, files=one, data={"purpose": "fun"}), 400, 'purpose is "fun"; it must be'),
        (httpx.post(url, files={"purpose": (None, "batch")}), 400, "The field file is missing."),
        (httpx.post(url, files={"data": ("a", b"x")}), 400, "one file, named file"),
        (httpx.post(url, files=[("file", ("a", b"x")), ("file", ("b", b"x"))]), 400, "one file, named file"),
        (
            httpx.post(url, files=one, data={"purpose": "batch", "more": "1"}),
            400,
            "The field more is unknown.",
        ),
        (httpx.post(url, files=one, data={"purpose": "x" * 5000}), 400, "too long"),
        (httpx.get(f"{url}?limit=0"), 400, "limit"),
        (httpx.get(f"{url}?sort=1"), 400, "The field sort is unknown."),
    ]
    for answer, status, said in cases:
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text
    assert [*(state / "files").iterdir()] == []


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server, state) -> None:
    def half():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhalf'
        raise ConnectionError

    with httpx.Client() as http, pytest.raises(ConnectionError):
        http.post(
            f"{server.url}/v1/files",
            content=half(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
    end = time.monotonic() + 20
    while time.monotonic() < end and (not (state / "files").exists() or [*(state / "files").iterdir()]):
        time.sleep(0.02)
    assert [*(state / "files").iterdir()] == []


def test_with_keys_files_ask_for_one(tmp_path) -> None:
    with serving(make_runtime(), api_keys=("k",)) as server:
        assert httpx.get(f"{server.url}/v1/files").status_code == 401
        assert httpx.get(f"{server.url}/v1/files", headers={"x-api-key": "k"}).status_code == 200
