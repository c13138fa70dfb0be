import pytest

from fairway.engine.kv_cache import KVCache
from fairway.engine.request import Request
from fairway.errors import InternalError


def admitted(cache: KVCache, prompt: str, adapter: str = "") -> Request:
    request = Request([ord(letter) for letter in prompt], adapter=adapter)
    assert cache.admit(request, cache.match(request), spare=0)
    return request


def computed(cache: KVCache, prompt: str, adapter: str = "") -> Request:
    request = admitted(cache, prompt, adapter)
    request.num_computed = request.num_tokens
    cache.store(request)
    return request


def test_a_second_request_shares_whole_blocks() -> None:
    cache = KVCache(10, 2)
    first = computed(cache, "aabbc")
    second = admitted(cache, "aabbd")
    assert second.block_ids[:2] == first.block_ids[:2]
    assert second.block_ids[2] != first.block_ids[2]
    assert (first.num_computed, second.num_computed) == (5, 4)
    assert cache.num_used == 4
    cache.check([first, second])


def test_the_last_token_is_always_computed() -> None:
    cache = KVCache(10, 2)
    computed(cache, "aabb")
    assert admitted(cache, "aabb").num_computed == 2


def test_blocks_of_a_finished_request_stay_cached_until_they_are_needed() -> None:
    cache = KVCache(4, 2)
    first = computed(cache, "aabbc")
    cache.release(first)
    assert (cache.num_used, cache.num_cached, cache.num_available) == (0, 2, 4)
    second = admitted(cache, "xxyyzzw")
    assert (cache.num_used, cache.num_cached) == (4, 0)
    assert cache.match(Request(first.token_ids)).depth == 0
    cache.check([first, second])


def test_a_prefix_under_another_adapter_is_another_prefix() -> None:
    cache = KVCache(10, 2)
    first = computed(cache, "aabbc", adapter="poet@sha256:1")
    assert admitted(cache, "aabbc").num_computed == 0
    assert admitted(cache, "aabbc", adapter="poet@sha256:2").num_computed == 0
    assert admitted(cache, "aabbc", adapter="poet@sha256:1").block_ids[:2] == first.block_ids[:2]


def test_two_who_compute_the_same_end_up_sharing_it() -> None:
    cache = KVCache(10, 2)
    first, second = admitted(cache, "aabbc"), admitted(cache, "aabbc")
    assert cache.num_used == 6
    for request in (first, second):
        request.num_computed = 5
        cache.store(request)
    assert first.block_ids[:2] == second.block_ids[:2]
    assert cache.num_used == 4
    cache.check([first, second])


def test_admission_that_leaves_too_little_changes_nothing() -> None:
    cache = KVCache(4, 2)
    cache.release(computed(cache, "aabb"))
    request = Request([ord(letter) for letter in "aabbcc"])
    assert not cache.admit(request, cache.match(request), spare=2)
    assert (cache.num_used, cache.num_cached, len(request.block_ids)) == (0, 2, 0)
    assert cache.admit(request, cache.match(request), spare=1)
    cache.check([request])


def test_extend_says_when_nothing_is_left() -> None:
    cache = KVCache(2, 2)
    request = computed(cache, "aabb")
    assert cache.extend(request)
    request.token_ids.append(1)
    assert not cache.extend(request)
    cache.check([request])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: request.block_ids.pop(),
        lambda request: request.block_ids.reverse(),
        lambda request: setattr(request, "num_computed", 1),
        lambda request: setattr(request, "node", None),
    ],
)
def test_check_sees_what_is_wrong(spoil) -> None:
    cache = KVCache(10, 2)
    request = computed(cache, "aabbc")
    spoil(request)
    with pytest.raises(InternalError):
        cache.check([request])


def test_what_somebody_waits_for_is_evicted_last() -> None:
    cache = KVCache(4, 2)
    cache.release(computed(cache, "aabb"))
    cache.release(computed(cache, "ccdd"))
    waiting = Request([ord(letter) for letter in "aabbx"])
    cache.expect(waiting)
    cache.release(computed(cache, "eeff"))
    assert cache.match(waiting).depth == 2
    cache.check([])


def test_without_sharing_nothing_is_found_and_nothing_is_kept() -> None:
    cache = KVCache(10, 2, shares_prefixes=False)
    first, second = computed(cache, "aabbc"), computed(cache, "aabbc")
    assert (second.num_computed, cache.num_used) == (5, 6)
    assert not set(first.block_ids) & set(second.block_ids)
    cache.check([first, second])
    cache.release(first)
    assert admitted(cache, "aabbc").num_computed == 0
    assert (cache.num_cached, cache.num_available) == (0, 4)


def test_check_sees_a_block_that_nobody_holds_any_more() -> None:
    cache = KVCache(10, 2)
    computed(cache, "aabbc")
    with pytest.raises(InternalError):
        cache.check([])
