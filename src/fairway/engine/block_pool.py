"""Counts the holders of every cache block. Knows no tokens, no requests and no prefixes.

The rule: a block is free exactly when nobody holds it.
"""

from __future__ import annotations

from fairway.errors import InternalError


class BlockPool:
    """`num_blocks` blocks; each has a count of holders (requests, and the prefix tree)."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._holders = [0] * num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))

    @property
    def num_free(self) -> int:
        return len(self._free)

    def num_holders(self, block: int) -> int:
        return self._holders[block]

    def take(self) -> int:
        """A free block, now with one holder. There must be one."""
        block = self._free.pop()
        self._holders[block] = 1
        return block

    def share(self, block: int) -> None:
        """One more holder of a block that has some."""
        if not self._holders[block]:
            raise InternalError(f"Block {block} is free and cannot be shared.")
        self._holders[block] += 1

    def release(self, block: int) -> None:
        """One holder less; without any the block is free again."""
        if not self._holders[block]:
            raise InternalError(f"Block {block} is released twice.")
        self._holders[block] -= 1
        if not self._holders[block]:
            self._free.append(block)

    def check(self) -> None:
        """Raises InternalError unless the free blocks are exactly those without a holder."""
        free = {block for block, count in enumerate(self._holders) if count == 0}
        if len(self._free) != len(free) or set(self._free) != free:
            raise InternalError(f"Free list {sorted(self._free)} is not the blocks without holder {free}.")
        if any(count < 0 for count in self._holders):
            raise InternalError("A block has fewer than no holders.")
