"""The check before serving: what passes, and what is nonsense."""

import math

import pytest
from fake_model import FakeRuntime

from fairway.cli.first_answer import MAX_TOKENS, OPENING, QUESTION, check
from fairway.errors import FormatError


def test_a_model_that_answers_passes():
    runtime, shown = FakeRuntime(num_words=4), []
    answer = check(runtime, shown.append)
    assert answer.text == "word0 word1 word2 word3 " == "".join(shown)
    assert (answer.prompt, answer.num_tokens) == (QUESTION, 4)
    assert set(answer.to_dict()) == {"prompt", "text", "num_tokens", "first_token_s", "tokens_per_s"}


def test_it_is_short_and_repeatable():
    runtime = FakeRuntime(num_words=1000)
    assert check(runtime).num_tokens == MAX_TOKENS
    assert runtime.requests[0].sampling.seed == 1 and runtime.requests[0].sampling.logprobs == 0


def test_without_a_template_it_begins_a_story():
    runtime = FakeRuntime(has_template=False)
    assert check(runtime).prompt == OPENING
    assert runtime.tokenizer.decode(runtime.requests[0].prompt_ids) == OPENING


def test_a_slow_model_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("fairway.cli.first_answer.LONGEST_S", 0.2)
    assert check(FakeRuntime(num_words=1000, pause_s=0.05)).num_tokens < 10


def test_how_it_reads():
    assert check(FakeRuntime(num_words=1)).as_text(str.upper) == f"{QUESTION.upper()}\nword0"
    story = check(FakeRuntime(num_words=1000, has_template=False)).as_text(str.upper)
    assert story.startswith(f"{OPENING.upper()}word0 ") and story.endswith(" ...")


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        (FakeRuntime(logprob=math.nan), "not finite: its weights are broken"),
        (FakeRuntime(logprob=-math.inf), "not finite: its weights are broken"),
        (FakeRuntime(num_words=0), "answers with nothing"),
        (FakeRuntime(error="the kernel failed"), "cannot answer: the kernel failed"),
    ],
)
def test_nonsense_is_refused(runtime, message):
    with pytest.raises(FormatError, match=message):
        check(runtime)
