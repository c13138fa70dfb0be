"""The official client against /v1/chat/completions: every field, sync and async, streamed and whole."""

import asyncio
import json
import math

import openai
import pytest

USER = [{"role": "user", "content": "Tell me a story."}]


def ask(client, **fields):
    return client.chat.completions.create(**{"model": "letters", "messages": USER, "max_tokens": 8} | fields)


def content(answer, index=0):
    return answer.choices[index].message.content


def folded(stream):
    """Text, finish reason and log probabilities by answer, and the last usage."""
    texts, reasons, logprobs, usage = {}, {}, {}, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
            if choice.logprobs is not None:
                logprobs.setdefault(choice.index, []).extend(choice.logprobs.content)
    return texts, reasons, logprobs, usage


def test_an_answer_has_openai_s_shape(client):
    answer = ask(client, seed=1)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "letters"
    assert answer.system_fingerprint.startswith("fw-")
    assert answer.created > 1_700_000_000
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs is None
    assert answer.usage.completion_tokens == len(content(answer)) == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 5},
        {"temperature": 0},
        {"seed": 5, "n": 3},
        {"seed": 5, "stop": ["a", "e", "i"], "max_tokens": 60},
        {"seed": 5, "logprobs": True, "top_logprobs": 3},
        {"seed": 5, "n": 2, "logprobs": True, "top_logprobs": 0},
    ],
    ids=str,
)
def test_the_complete_answer_is_the_stream_folded_together(client, fields):
    whole = ask(client, **fields)
    texts, reasons, logprobs, usage = folded(
        ask(client, **fields, stream=True, stream_options={"include_usage": True})
    )
    assert texts == {choice.index: choice.message.content for choice in whole.choices}
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usage.completion_tokens == whole.usage.completion_tokens
    for choice in whole.choices:
        assert logprobs.get(choice.index) == (choice.logprobs and choice.logprobs.content)


def test_a_stream_begins_with_the_role_and_ends_with_a_reason(client):
    chunks = list(ask(client, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "length"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_in_a_last_chunk_without_choices(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 8
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def _async_answers(url):
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
        whole = await ask(client, seed=3)
        streamed = ""
        async for chunk in await ask(client, seed=3, stream=True):
            streamed += chunk.choices[0].delta.content or ""
        many = await asyncio.gather(*(ask(client, seed=seed) for seed in range(20)))
    return whole, streamed, many


def test_the_async_client_gets_the_same_answers(server, client):
    whole, streamed, many = asyncio.run(_async_answers(server.url))
    assert content(whole) == streamed == content(ask(client, seed=3))
    assert [content(each) for each in many] == [content(ask(client, seed=seed)) for seed in range(20)]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(client):
    assert content(ask(client, seed=7, max_tokens=40)) == content(ask(client, seed=7, max_tokens=40))
    assert content(ask(client, seed=7, max_tokens=40)) != content(ask(client, seed=8, max_tokens=40))


def test_answer_i_of_n_draws_with_seed_plus_i(client):
    answer = ask(client, seed=20, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [content(answer, i) for i in range(3)] == [content(ask(client, seed=20 + i)) for i in range(3)]
    assert answer.usage.completion_tokens == 24


def test_temperature_zero_is_greedy(client):
    assert len({content(ask(client, temperature=0, seed=seed)) for seed in range(5)}) == 1


def test_top_k_one_and_a_tiny_top_p_are_greedy_too(client):
    greedy = content(ask(client, temperature=0))
    assert content(ask(client, top_p=0.0001, seed=1)) == greedy
    assert content(ask(client, extra_body={"top_k": 1}, seed=1)) == greedy
    assert content(ask(client, extra_body={"min_p": 1.0}, seed=1)) == greedy
    assert content(ask(client, extra_body={"top_k": -1}, seed=1)) == content(ask(client, seed=1))


def test_logit_bias_forces_and_forbids_tokens(client):
    assert content(ask(client, logit_bias={str(ord("z")): 100})) == "zzzzzzzz"
    forbidden = {str(ord(letter)): -100 for letter in "abcdefghijklm "}
    assert not set(content(ask(client, logit_bias=forbidden, max_tokens=50))) & set("abcdefghijklm ")


def test_penalties_change_the_answer(client):
    forced = {str(ord("z")): 30.0}
    plain = content(ask(client, temperature=0, logit_bias=forced))
    assert plain == "zzzzzzzz"
    for penalty in (
        {"extra_body": {"repetition_penalty": 9.0}},
        {"frequency_penalty": 2.0, "presence_penalty": 2.0, "logit_bias": {str(ord("z")): 3.0}},
    ):
        assert content(ask(client, **{"temperature": 0, "logit_bias": forced} | penalty)) != plain


@pytest.mark.parametrize("stop", ["e", ["e"], ["xq!", "e"]])
def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(client, stop):
    free = content(ask(client, seed=2, max_tokens=80))
    answer = ask(client, seed=2, max_tokens=80, stop=stop)
    assert content(answer) == free[: free.index("e")]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].stop_reason == "e"


def test_the_stop_text_can_be_kept(client):
    answer = ask(client, seed=2, max_tokens=80, stop="e", extra_body={"include_stop_str_in_output": True})
    assert content(answer).endswith("e")


def test_a_stop_token_id_ends_the_answer(client):
    free = content(ask(client, seed=2, max_tokens=80))
    answer = ask(client, seed=2, max_tokens=80, extra_body={"stop_token_ids": [ord("e")]})
    assert content(answer) == free[: free.index("e")]
    assert (answer.choices[0].finish_reason, answer.choices[0].stop_reason) == ("stop", ord("e"))


def test_the_model_s_own_end_is_a_stop_and_can_be_ignored(client):
    answer = ask(client, model="org/ends", seed=4, max_tokens=2000)
    assert (answer.choices[0].finish_reason, answer.choices[0].stop_reason) == ("stop", None)
    assert "</s>" not in content(answer)
    least = len(content(answer)) + 20
    longer = ask(client, model="org/ends", seed=4, max_tokens=2000, extra_body={"min_tokens": least})
    assert longer.usage.completion_tokens >= least
    endless = ask(client, model="org/ends", seed=4, max_tokens=300, extra_body={"ignore_eos": True})
    assert (endless.choices[0].finish_reason, endless.usage.completion_tokens) == ("length", 300)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_answer_is_as_long_as_asked(client, name):
    fields = {"model": "letters", "messages": USER, name: 5}
    answer = client.chat.completions.create(**fields)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (5, "length")


def test_without_a_limit_the_answer_fills_the_context(client):
    answer = client.chat.completions.create(model="letters", messages=USER)
    assert answer.usage.total_tokens == 2048
    assert answer.choices[0].finish_reason == "length"


def test_logprobs_have_bytes_and_the_likeliest_first(client):
    answer = ask(client, seed=1, logprobs=True, top_logprobs=4)
    entries = answer.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries) == content(answer)
    assert bytes(byte for entry in entries for byte in entry.bytes).decode() == content(answer)
    for entry in entries:
        tops = [top.logprob for top in entry.top_logprobs]
        assert len(tops) == 4
        assert tops == sorted(tops, reverse=True)
        assert entry.logprob <= tops[0] <= 0
        assert math.exp(entry.logprob) <= 1


def test_logprobs_without_top_logprobs(client):
    entries = ask(client, logprobs=True).choices[0].logprobs.content
    assert [entry.top_logprobs for entry in entries] == [[]] * 8


def test_prompt_logprobs_in_vllm_s_shape(client):
    answer = ask(client, extra_body={"prompt_logprobs": 2})
    entries = answer.prompt_logprobs
    assert len(entries) == answer.usage.prompt_tokens
    assert entries[0] is None
    assert all(len(entry) in (2, 3) for entry in entries[1:])
    first = next(iter(entries[1].values()))
    assert set(first) == {"logprob", "rank", "decoded_token"}


def test_cached_prompt_tokens_are_reported(client):
    conversation = [{"role": "user", "content": "the same long beginning " * 10}]
    ask(client, messages=conversation)
    again = ask(client, messages=conversation)
    assert again.usage.prompt_tokens_details.cached_tokens > 100


def test_content_may_be_a_list_of_text_parts(client):
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    as_parts = ask(client, temperature=0, messages=[{"role": "user", "content": parts}])
    as_text = ask(client, temperature=0, messages=[{"role": "user", "content": "onetwo"}])
    assert content(as_parts) == content(as_text)
    assert as_parts.usage.prompt_tokens == as_text.usage.prompt_tokens


def test_developer_means_system(client):
    counts = {
        ask(client, messages=[{"role": role, "content": "Be kind."}, *USER]).usage.prompt_tokens
        for role in ("developer", "system")
    }
    assert len(counts) == 1


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def prompt_text(http, **fields):
    ids = http.post("/tokenize", json={"model": "letters", **fields}).json()["tokens"]
    return http.post("/detokenize", json={"model": "letters", "tokens": ids}).json()["prompt"]


def test_tools_are_rendered_as_given(client, http):
    assert f"[tools: {json.dumps(TOOLS)}]" in prompt_text(http, messages=USER, tools=TOOLS)
    with_tools = ask(client, tools=TOOLS, tool_choice="auto").usage.prompt_tokens
    assert ask(client, tools=TOOLS).usage.prompt_tokens == with_tools
    assert ask(client, tools=TOOLS, tool_choice="none").usage.prompt_tokens == ask(client).usage.prompt_tokens


def test_earlier_calls_and_their_results_reach_the_template(client, http):
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    history = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    assert 'calls weather({"city": "Oslo"})' in prompt_text(http, messages=history)
    assert "tool: rain" in prompt_text(http, messages=history)
    assert ask(client, messages=history, tools=TOOLS).choices[0].finish_reason == "length"


def test_template_variables(client, http):
    variables = {"mood": "cheerful"}
    assert "[mood: cheerful]" in prompt_text(http, messages=USER, chat_template_kwargs=variables)
    plain = ask(client).usage.prompt_tokens
    assert ask(client, extra_body={"chat_template_kwargs": variables}).usage.prompt_tokens > plain
    assert ask(client, reasoning_effort="low").usage.prompt_tokens == plain + len("[effort: low]\n")
    unopened = ask(client, extra_body={"add_generation_prompt": False}).usage.prompt_tokens
    assert unopened == plain - len("assistant:")


def test_the_model_may_be_left_out_only_when_there_is_one(client, http):
    answer = http.post("/v1/chat/completions", json={"messages": USER, "max_tokens": 1})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"


HARMLESS = {
    "user": "someone",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "response_format": {"type": "text"},
}


def test_harmless_fields_are_accepted_together(client):
    assert content(ask(client, seed=1, **HARMLESS)) == content(ask(client, seed=1))


def test_null_means_not_set(client, http):
    body = {"model": "letters", "messages": USER, "max_tokens": 3, "seed": 1}
    nulls = dict.fromkeys(
        ["temperature", "top_p", "stop", "n", "logit_bias", "tools", "functions", "audio", "stream"], None
    )
    assert http.post("/v1/chat/completions", json=body | nulls).status_code == 200
