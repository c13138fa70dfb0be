import threading

import pytest

from fairway.engine.door import Capacity, Door
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import Busy, RequestError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def door_for(max_requests: int, clock: Clock | None = None) -> Door:
    capacity = Capacity(vocab_size=10, max_context=8, pool_tokens=32, max_requests=max_requests)
    return Door(capacity, clock or Clock())


def ask(request_id: str, **fields) -> Request:
    return Request([1, 2, 3], SamplingParams(**fields), id=request_id)


def test_no_more_come_in_than_may() -> None:
    door = door_for(2)
    door.enter(ask("a"))
    door.enter(ask("b"))
    with pytest.raises(Busy, match="2 requests are running or waiting"):
        door.enter(ask("c"))
    door.leave("a")
    door.enter(ask("c"))


def test_retry_after_follows_the_recent_rate() -> None:
    clock = Clock()
    door = door_for(20, clock)
    for number in range(20):
        door.enter(ask(str(number)))
    with pytest.raises(Busy) as caught:
        door.enter(ask("x"))
    assert caught.value.retry_after_s == 1
    for number in range(10):
        clock.now += 2
        door.leave(str(number))
        door.enter(ask(f"again {number}"))
    with pytest.raises(Busy) as caught:
        door.enter(ask("x"))
    assert caught.value.retry_after_s == 18  # one leaves every 1.8 s since the first did; half of 20 are 10
    clock.now += 10_000
    with pytest.raises(Busy) as caught:
        door.enter(ask("x"))
    assert caught.value.retry_after_s == 60


def test_a_closed_door_says_so() -> None:
    door = door_for(2)
    door.close()
    with pytest.raises(Busy, match="shutting down"):
        door.enter(ask("a"))


def test_an_id_is_inside_once() -> None:
    door = door_for(2)
    door.enter(ask("a"))
    with pytest.raises(RequestError, match="A request with id a is running already"):
        door.enter(ask("a"))
    door.leave("a")
    door.enter(ask("a"))


@pytest.mark.parametrize(("max_tokens", "expected"), [(None, 5), (3, 3), (5, 5), (100, 5), (0, 0)])
def test_an_answer_is_limited_to_what_the_context_has_left(max_tokens: int | None, expected: int) -> None:
    request = ask("a", max_tokens=max_tokens)
    door_for(1).enter(request)
    assert request.max_output == expected


def test_many_threads_at_once_do_not_overfill_it() -> None:
    door, refused = door_for(50), []

    def come(number: int) -> None:
        try:
            door.enter(ask(str(number)))
        except Busy:
            refused.append(number)

    threads = [threading.Thread(target=come, args=(n,)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(door), len(refused)) == (50, 150)
