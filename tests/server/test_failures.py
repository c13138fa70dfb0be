"""When the engine fails: the client is told in one sentence, the stream ends properly, nothing leaks."""

import json
import logging

import httpx
import openai
import pytest
from scrape import Scrape
from scripted_runtime import ScriptedRuntime
from serving import serving

from fairway.errors import Busy
from fairway.runtimes.protocol import Delta, Usage

CHAT = {"messages": [{"role": "user", "content": "x"}]}
HELLO = Delta(text="hello", token_ids=(1,))
ERROR = Delta(finish_reason="error", error="cache block 7 was lost")


def frames_of(answer):
    lines = [line[6:] for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def ask(server, **fields):
    return httpx.post(server.url + "/v1/chat/completions", json=CHAT | fields, timeout=10)


CASES = {
    "an error of the engine": ([HELLO, ERROR], 500, "cache block 7 was lost"),
    "a bug": ([HELLO, ZeroDivisionError("secret detail")], 500, "Something went wrong on the server"),
    "an error of ours": ([HELLO, Busy("Memory is short.", retry_after_s=7)], 503, "Memory is short."),
    "an abort": ([HELLO, Delta(finish_reason="abort")], 503, "ended this answer early"),
}


@pytest.mark.parametrize(("steps", "status", "message"), CASES.values(), ids=CASES)
def test_a_whole_answer_that_fails_is_an_error(steps, status, message, caplog):
    with serving(ScriptedRuntime(steps)) as server:
        answer = ask(server)
        assert answer.status_code == status
        assert message in answer.json()["error"]["message"]
        assert "secret" not in answer.text
        assert ("retry-after" in answer.headers) == (status == 503)
    assert ("secret detail" in caplog.text) == ("secret" in str(steps[1]))


@pytest.mark.parametrize(("steps", "status", "message"), CASES.values(), ids=CASES)
def test_a_stream_that_fails_ends_with_an_error_event(steps, status, message, caplog):
    caplog.set_level(logging.CRITICAL)
    with serving(ScriptedRuntime(steps)) as server:
        answer = ask(server, stream=True)
        *_, said, failed = frames_of(answer)
        assert answer.status_code == 200
        assert said["choices"][0]["delta"] == {"content": "hello"}
        assert message in failed["error"]["message"]
        assert "secret" not in answer.text
        with openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0) as client:
            stream = client.chat.completions.create(model="scripted", stream=True, **CHAT)
            with pytest.raises(openai.APIError, match=message):
                list(stream)


@pytest.mark.parametrize("stream", [True, False])
def test_every_generation_is_let_go_and_counted(stream):
    runtime = ScriptedRuntime([HELLO, ERROR])
    with serving(runtime) as server:
        httpx.post(server.url + "/v1/completions", json={"prompt": ["a", "b"], "n": 2, "stream": stream})
        assert [each.num_cancels > 0 for each in runtime.generations] == [True, True]
        read = Scrape(server.url)
        assert read("answers_total") == 4
        assert read("answers_total", finish_reason="error") >= 1
        assert read("answers_in_flight") == 0


def test_when_one_prompt_of_many_is_refused_the_others_are_let_go():
    def refuse(request):
        if request.prompt_ids[-1] == ord("b"):
            raise Busy("The queue is full.", retry_after_s=9)

    runtime = ScriptedRuntime([HELLO], refuse=refuse)
    with serving(runtime) as server:
        answer = httpx.post(server.url + "/v1/completions", json={"prompt": ["a", "b", "c"]})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "9")
        assert answer.json()["error"]["code"] == "overloaded"
        assert [each.num_cancels for each in runtime.generations] == [1]
        assert Scrape(server.url)("answers_total") == 0


def test_a_full_queue_says_when_to_come_back():
    from stack import make_runtime

    with serving(make_runtime(step_latency_s=0.05, max_sequences=1, max_waiting=2)) as server:
        answer = ask(server, n=5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        assert "queue is full" in answer.json()["error"]["message"]


def test_a_silent_stream_sends_comments_that_clients_ignore():
    last = Delta(text="!", token_ids=(2,), finish_reason="stop", usage=Usage(1, 2))
    with serving(ScriptedRuntime([0.5, HELLO, last]), heartbeat_s=0.1) as server:
        text = ask(server, stream=True).text
        assert text.count(": still here\n\n") >= 3
        with openai.OpenAI(base_url=server.url + "/v1", api_key="x") as client:
            chunks = client.chat.completions.create(model="scripted", stream=True, **CHAT)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello!"


def test_tools_are_refused_when_the_template_has_no_place_for_them():
    tools = [{"type": "function", "function": {"name": "f"}}]
    with serving(ScriptedRuntime()) as server:
        answer = ask(server, tools=tools)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
