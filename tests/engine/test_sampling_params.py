import pytest

from fairway.engine.sampling_params import SamplingParams
from fairway.errors import RequestError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": -1}, "temperature is -1; it must be at least 0, for example 0.7."),
        ({"temperature": float("nan")}, "temperature is nan; it must be at least 0"),
        ({"top_k": 0}, "top_k is 0; it must be at least 1, for example 40."),
        ({"top_p": 0}, "top_p is 0; it must be above 0 and at most 1, for example 0.9."),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"min_p": -0.1}, "min_p is -0.1; it must be at least 0 and at most 1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0; it must be at least 0.01"),
        ({"repetition_penalty": 5e-324}, "repetition_penalty is 5e-324; it must be at least 0.01"),
        ({"presence_penalty": 2.1}, "presence_penalty is 2.1; it must be at least -2 and at most 2"),
        ({"frequency_penalty": -3}, "frequency_penalty is -3"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens is 5, above max_tokens, which is 4."),
        ({"logprobs": -1}, "logprobs is -1"),
        ({"prompt_logprobs": -1}, "prompt_logprobs is -1"),
        ({"logit_bias": {1: float("inf")}}, "logit_bias has a value that is not a finite number."),
    ],
    ids=str,
)
def test_what_is_impossible_is_refused_with_a_value_that_works(fields, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        SamplingParams(**fields)
    assert message in caught.value.message
    assert caught.value.param in fields


def test_ends_of_text_are_ignored_on_demand_and_stop_tokens_are_not() -> None:
    ids = {"end_of_text_ids": frozenset({1}), "stop_token_ids": frozenset({2})}
    assert SamplingParams(**ids).ids_that_end == {1, 2}
    assert SamplingParams(ignore_eos=True, **ids).ids_that_end == {2}


def test_defaults_change_nothing_about_the_logits() -> None:
    assert not SamplingParams().adjusts_logits
    assert SamplingParams(min_tokens=1).adjusts_logits
    assert SamplingParams(temperature=0).is_greedy
