"""The official client against /v1/completions: four shapes of prompt, echo, logprobs, n, streams."""

import pytest


def complete(client, prompt="Once", **fields):
    return client.completions.create(**{"model": "letters", "prompt": prompt, "max_tokens": 6} | fields)


def texts(answer):
    return [choice.text for choice in answer.choices]


def folded(stream):
    found = {}
    for chunk in stream:
        for choice in chunk.choices:
            text, reason = found.get(choice.index, ("", None))
            found[choice.index] = (text + choice.text, choice.finish_reason or reason)
    return [found[index] for index in sorted(found)]


def test_an_answer_has_openai_s_shape(client):
    answer = complete(client)
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs is None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 6)


def test_without_max_tokens_sixteen_are_made_as_openai_does(client):
    assert client.completions.create(model="letters", prompt="x").usage.completion_tokens == 16


def test_every_shape_of_prompt_gives_the_same_answer(client):
    ids = [256, *b"Once"]
    for prompt in ("Once", ["Once"], ids, [ids]):
        assert texts(complete(client, prompt, temperature=0)) == texts(complete(client, temperature=0))


def test_many_prompts_are_answered_in_order(client):
    prompts = ["one", "two", "three"]
    alone = [texts(complete(client, prompt, seed=1, n=2)) for prompt in prompts]
    together = complete(client, prompts, seed=1, n=2)
    assert texts(together) == [text for pair in alone for text in pair]
    assert [choice.index for choice in together.choices] == list(range(6))
    assert together.usage.prompt_tokens == sum(len(prompt) + 1 for prompt in prompts)
    assert together.usage.completion_tokens == 36


@pytest.mark.parametrize(
    "fields",
    [{}, {"n": 2}, {"echo": True}, {"prompt": ["one", "two"], "n": 2, "echo": True}, {"stop": "e"}],
    ids=str,
)
def test_the_complete_answer_is_the_stream_folded_together(client, fields):
    fields = {"seed": 3, "max_tokens": 30} | fields
    whole = complete(client, **fields)
    streamed = folded(complete(client, **fields, stream=True))
    assert streamed == [(choice.text, choice.finish_reason) for choice in whole.choices]


def test_usage_of_a_stream_over_many_prompts(client):
    options = {"include_usage": True}
    chunks = list(complete(client, ["one", "two"], n=2, stream=True, stream_options=options))
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (8, 24)


def test_echo_puts_the_prompt_before_the_answer(client):
    plain = texts(complete(client, temperature=0))[0]
    assert texts(complete(client, temperature=0, echo=True)) == ["Once" + plain]
    assert texts(complete(client, [256, *b"Once"], temperature=0, echo=True)) == ["<s>Once" + plain]


def test_logprobs_are_parallel_lists(client):
    logprobs = complete(client, seed=1, logprobs=2).choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 6
    assert logprobs.text_offset == list(range(6))
    for token, value, top in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True
    ):
        assert top[token] == value
        assert len(top) in (2, 3)


def test_logprobs_zero_has_no_top(client):
    logprobs = complete(client, logprobs=0).choices[0].logprobs
    assert logprobs.top_logprobs is None
    assert len(logprobs.token_logprobs) == 6


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_a_prompt_can_be_scored_as_evaluation_harnesses_do(client, max_tokens):
    answer = complete(client, "Once", max_tokens=max_tokens, echo=True, logprobs=1, temperature=0)
    logprobs = answer.choices[0].logprobs
    assert logprobs.tokens[:5] == ["<s>", "O", "n", "c", "e"]
    assert logprobs.token_logprobs[0] is None
    assert logprobs.top_logprobs[0] is None
    assert all(value < 0 for value in logprobs.token_logprobs[1:])
    assert len(logprobs.tokens) == 5 + max_tokens
    assert answer.usage.completion_tokens == max_tokens
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].text.startswith("Once")


def test_a_scored_prompt_gives_the_same_numbers_streamed(client):
    fields = {"prompt": "Once", "max_tokens": 3, "echo": True, "logprobs": 2, "seed": 1}
    whole = complete(client, **fields).choices[0].logprobs
    values, offsets = [], []
    for chunk in complete(client, **fields, stream=True):
        if chunk.choices[0].logprobs is not None:
            values += chunk.choices[0].logprobs.token_logprobs
            offsets += chunk.choices[0].logprobs.text_offset
    assert (values, offsets) == (whole.token_logprobs, whole.text_offset)


def test_pieces_of_a_character_keep_distinct_names(client):
    logprobs = complete(client, logit_bias={"130": 100}, logprobs=3, max_tokens=1).choices[0].logprobs
    assert logprobs.tokens == ["bytes:\\x82"]


def test_prompt_logprobs_belong_to_each_choice(client):
    answer = complete(client, ["ab", "abcd"], extra_body={"prompt_logprobs": 1})
    assert [len(choice.prompt_logprobs) for choice in answer.choices] == [3, 5]


def test_the_model_s_name_may_hold_a_slash(client):
    answer = complete(client, model="org/ends", max_tokens=2)
    assert answer.model == "org/ends"
    assert client.models.retrieve("org/ends").id == "org/ends"
    assert [each.id for each in client.models.list()] == ["letters", "org/ends"]
