import pytest

from fairway.engine.block_pool import BlockPool
from fairway.errors import InternalError


def test_a_block_is_free_when_its_last_holder_lets_go() -> None:
    pool = BlockPool(2)
    block = pool.take()
    pool.share(block)
    pool.release(block)
    assert pool.num_free == 1
    pool.release(block)
    assert pool.num_free == 2
    pool.check()


def test_every_block_can_be_taken_once() -> None:
    pool = BlockPool(5)
    assert sorted(pool.take() for _ in range(5)) == [0, 1, 2, 3, 4]
    assert pool.num_free == 0
    pool.check()


def test_a_free_block_is_neither_shared_nor_released() -> None:
    pool = BlockPool(1)
    with pytest.raises(InternalError, match="cannot be shared"):
        pool.share(0)
    with pytest.raises(InternalError, match="released twice"):
        pool.release(0)


@pytest.mark.parametrize("spoil", [lambda pool: pool._free.append(0), lambda pool: pool._free.pop()])
def test_check_sees_a_wrong_free_list(spoil) -> None:
    pool = BlockPool(3)
    pool.take()
    spoil(pool)
    with pytest.raises(InternalError):
        pool.check()
