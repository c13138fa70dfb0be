"""Stop strings: any cutting of the text gives what searching the whole text gives."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.errors import RequestError
from fairway.text.stop_strings import StopStrings

TEXT = st.text("ab\nc", max_size=40)
STOPS = st.lists(st.text("ab\nc", min_size=1, max_size=5), max_size=5)


def searched(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The stop that is complete first, the longest of those that end together."""
    found = [(text.find(stop) + len(stop), -len(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    end, _, stop = min(found)
    return text[: end - len(stop)], stop


def sent(stream: StopStrings, pieces: list[str]) -> str:
    return "".join(map(stream.push, pieces)) + stream.flush()


@given(text=TEXT, stops=STOPS, cuts=st.lists(st.integers(0, 40)))
def test_any_cutting_equals_searching_the_whole(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    expected, stop = searched(text, stops)
    stream = StopStrings(stops)
    assert (sent(stream, pieces), stream.stopped) == (expected, stop)
    shown = StopStrings(stops, include_stop=True)
    assert sent(shown, pieces) == expected + (stop or "")


@given(text=TEXT, stops=STOPS)
def test_nothing_is_held_that_could_be_sent(text: str, stops: list[str]) -> None:
    stream = StopStrings(stops)
    given_back = "".join(map(stream.push, text))
    if stream.stopped is None:
        held = text[len(given_back) :]
        longest = max(
            (n for n in range(len(text) + 1) for s in stops if n < len(s) and text.endswith(s[:n])), default=0
        )
        assert len(held) == longest


def test_a_stop_over_several_pieces_is_not_sent() -> None:
    stream = StopStrings(["</answer>"])
    assert [stream.push(piece) for piece in ["The answer", " is 4 <", "/ans", "wer> and"]] == [
        "The answer",
        " is 4 ",
        "",
        "",
    ]
    assert stream.stopped == "</answer>"
    assert stream.push("more") == ""
    assert stream.flush() == ""


def test_a_false_alarm_is_sent_after_all() -> None:
    stream = StopStrings(["</answer>"])
    assert stream.push("a </ans") + stream.push("on>") == "a </anson>"
    assert stream.push("x <") == "x "
    assert stream.flush() == "<"


def test_without_stops_everything_passes_at_once() -> None:
    stream = StopStrings([])
    assert stream.push("abc") == "abc"
    assert stream.flush() == ""


@pytest.mark.parametrize("stop", ["", None, 7, b"x"])
def test_an_impossible_stop_is_refused(stop: object) -> None:
    with pytest.raises(RequestError, match="stop string") as caught:
        StopStrings(["ok", stop])  # type: ignore[list-item]
    assert caught.value.param == "stop"


def test_a_thousand_stops_cost_no_more_than_one() -> None:
    stream = StopStrings([f"{'a' * 50}{number}" for number in range(1000)])
    begun = time.thread_time()
    for _ in range(20_000):
        stream.push("aaaaaaaaaa")
    assert time.thread_time() - begun < 5
