"""Every request that cannot be served gets the right status and one sentence that names the field."""

import json

import httpx
import openai
import pytest

CHAT = {"model": "letters", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
TEXT = {"model": "letters", "prompt": "x", "max_tokens": 2}
TOOL = {"type": "function", "function": {"name": "f"}}

# Field and value on top of a good chat request -> the field that is named.
BAD_CHAT = [
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"min_p": -0.1}, "min_p"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": -3}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": "2"}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_completion_tokens": 3}, "max_tokens"),
    ({"max_tokens": None, "max_completion_tokens": 0}, "max_completion_tokens"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": {}}, "stop"),
    ({"stop_token_ids": [258]}, "stop_token_ids"),
    ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
    ({"logit_bias": {"258": 1}}, "logit_bias"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias[1]"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"min_tokens": 3}, "min_tokens"),
    ({"logprobs": 3}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"prompt_logprobs": 21}, "prompt_logprobs"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"stream": True, "stream_options": {"includeusage": True}}, "stream_options.includeusage"),
    ({"messages": []}, "messages"),
    ({"messages": "x"}, "messages"),
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "tool", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": "text"}, "response_format"),
    ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": TOOL}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "tools"),
    ({"tools": [{"type": "custom"}]}, "tools[0].type"),
    ({"tools": {}}, "tools"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"guided_json": {}}, "guided_json"),
    ({"structured_outputs": {}}, "structured_outputs"),
    ({"best_of": 2}, "best_of"),
    ({"use_beam_search": True}, "use_beam_search"),
    ({"continue_final_message": True}, "continue_final_message"),
    ({"skip_special_tokens": False}, "skip_special_tokens"),
    ({"cache_salt": "x"}, "cache_salt"),
    ({"chat_template": "x"}, "chat_template"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
    ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ({"temprature": 1}, "temprature"),
    ({"x" * 500: 1}, "x" * 60 + "..."),
]  # fmt: skip
BAD_TEXT = [
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [[1], []]}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": [1, "x"]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [258]}, "prompt"),
    ({"prompt": ["x"] * 257}, "prompt"),
    ({"suffix": "after"}, "suffix"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"echo": "yes"}, "echo"),
    ({"best_of": 3}, "best_of"),
    ({"messages": []}, "messages"),
]


def sentence_of(answer: httpx.Response) -> dict:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert 10 < len(error["message"]) < 400
    assert error["message"].endswith((".", "}", "?"))
    assert "Traceback" not in error["message"]
    assert "pydantic" not in error["message"]
    return error


@pytest.mark.parametrize(("fields", "param"), BAD_CHAT, ids=lambda value: str(value)[:60])
def test_a_chat_request_that_cannot_be_served_names_the_field(http, fields, param):
    answer = http.post("/v1/chat/completions", json=CHAT | fields)
    error = sentence_of(answer)
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert param.split("[")[0].split(".")[0][:50] in error["message"]


@pytest.mark.parametrize(("fields", "param"), BAD_TEXT, ids=lambda value: str(value)[:60])
def test_a_completion_request_that_cannot_be_served_names_the_field(http, fields, param):
    answer = http.post("/v1/completions", json=TEXT | fields)
    assert (answer.status_code, sentence_of(answer)["param"]) == (400, param)


def test_the_sentence_says_the_value_and_what_works(http):
    def message(fields):
        return http.post("/v1/chat/completions", json=CHAT | fields).json()["error"]["message"]

    assert message({"temperature": 5}) == "temperature is 5; it must be at most 2."
    assert message({"temprature": 1}) == "The field temprature is unknown. Did you mean temperature?"
    assert message({"n": 1000}) == "n is 1000; it must be at most 128."
    assert message({"messages": None}) == "messages is null; it must be a list."
    assert message({"stop": 7}) == (
        "stop is 7; it must be a text or a list of up to 16 texts, none of them empty."
    )


def test_a_missing_field_is_named(http):
    error = http.post("/v1/chat/completions", json={"model": "letters"}).json()["error"]
    assert (error["message"], error["param"]) == ("The field messages is missing.", "messages")


def test_an_unknown_model_names_those_that_are_served(http, client):
    answer = http.post("/v1/chat/completions", json=CHAT | {"model": "gpt-5"})
    error = sentence_of(answer)
    assert (answer.status_code, error["code"]) == (404, "model_not_found")
    assert error["message"] == "There is no model 'gpt-5' here. Served: letters, org/ends."
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


def test_a_prompt_beyond_the_context_says_both_numbers(http):
    body = CHAT | {"messages": [{"role": "user", "content": "x" * 5000}]}
    error = sentence_of(http.post("/v1/chat/completions", json=body))
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert "5018" in error["message"]
    assert "2048" in error["message"]
    error = sentence_of(http.post("/v1/completions", json=TEXT | {"prompt": [1] * 2048}))
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


BAD_BODIES = {
    "empty": b"",
    "half": b'{"model": "letters", "mess',
    "not an object": b"[1, 2]",
    "a number": b"7",
    "NaN": b'{"temperature": NaN}',
    "Infinity": b'{"temperature": Infinity}',
    "invalid UTF-8": b'{"model": "\xff\xfe"}',
    "half a surrogate pair": b'{"model": "\\ud800"}',
    "control character": b'{"model": "\x00"}',
    "trailing": json.dumps(CHAT).encode() + b"}",
    "deep nesting": b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep nesting of objects": b'{"a": ' * 50_000 + b"1" + b"}" * 50_000,
    "UTF-16": json.dumps(CHAT).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(CHAT).encode(),
    "a number of 10,000 digits": b'{"seed": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_not_json_is_a_400(http, body):
    answer = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    sentence_of(answer)


def test_an_infinite_number_is_refused(http):
    body = json.dumps(CHAT)[:-1] + ', "temperature": 1e999}'
    answer = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, sentence_of(answer)["param"]) == (400, "temperature")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
    ids=str,
)
def test_a_body_of_another_kind_is_a_415(http, headers):
    answer = http.post("/v1/chat/completions", content=json.dumps(CHAT), headers=headers)
    assert (answer.status_code, sentence_of(answer)["code"]) == (415, "wrong_content_type")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/chat/completions/", 404),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/v1/models/none", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
    ],
)
def test_unknown_routes_and_methods_have_the_same_shape(http, method, path, status):
    answer = http.request(method, path)
    assert answer.status_code == status
    sentence_of(answer)
    assert ("allow" in answer.headers) == (status == 405)


def test_a_request_id_is_kept_or_made(http):
    assert http.get("/health", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = http.get("/health", headers={"x-request-id": "has spaces, " * 30 + "x"}).headers["x-request-id"]
    assert len(made) == 24
    assert http.get("/nothing", headers={"x-request-id": "mine-2"}).headers["x-request-id"] == "mine-2"
