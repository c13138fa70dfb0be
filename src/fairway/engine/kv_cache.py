"""Joins the pool, which counts blocks, and the tree, which knows prefixes, for requests.

Decides nothing about who runs. The rule: the first `node.depth` blocks of a request are the tree's
(shared, full, computed), the blocks after them are its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from fairway.engine.block_pool import BlockPool
from fairway.engine.radix_tree import Node, RadixTree, path_blocks
from fairway.engine.request import Request
from fairway.errors import InternalError


class KVCache:
    """`num_blocks` blocks of `block_size` tokens, shared by all requests.

    Without `shares_prefixes` the tree stays empty: every request computes its whole prompt, and its
    blocks are free when it ends.
    """

    def __init__(self, num_blocks: int, block_size: int, shares_prefixes: bool = True) -> None:
        self.block_size = block_size
        self.shares_prefixes = shares_prefixes
        self.pool = BlockPool(num_blocks)
        self.tree = RadixTree()

    @property
    def num_cached(self) -> int:
        """Blocks held by the prefix tree alone; any of them can be taken."""
        return self.tree.num_unlocked

    @property
    def num_available(self) -> int:
        return self.pool.num_free + self.tree.num_unlocked

    @property
    def num_used(self) -> int:
        """Blocks held by requests."""
        return self.pool.num_blocks - self.num_available

    def num_matchable_blocks(self, request: Request) -> int:
        """Blocks of `request` that could come from other requests."""
        return request.num_matchable_blocks(self.block_size) if self.shares_prefixes else 0

    def match(self, request: Request) -> Node:
        """End of the longest prefix of `request` that is cached and that it may use."""
        num_blocks = self.num_matchable_blocks(request)
        return self.tree.match(request.block_key(i, self.block_size) for i in range(num_blocks))

    def expect(self, request: Request) -> None:
        """Counts what is cached of `request` as used now: evicted after what nobody waits for."""
        self.tree.touch(self.match(request))

    def key_after(self, request: Request, node: Node) -> Hashable:
        """What the block that follows `node` is known by. Only for a full block of present tokens."""
        return request.block_key(node.depth, self.block_size)

    def admit(self, request: Request, node: Node, spare: int) -> bool:
        """Gives `request` the prefix ending at `node` and blocks for all its tokens.

        False, and nothing has changed, if that would leave fewer than `spare` blocks available.
        """
        self.tree.lock(node)
        if self.num_available - (request.num_blocks(self.block_size) - node.depth) < spare:
            self.tree.unlock(node)
            return False
        request.node = node
        request.block_ids.extend(path_blocks(node))
        request.num_computed = node.depth * self.block_size
        for block in request.block_ids:
            self.pool.share(block)
        return self.extend(request)

    def extend(self, request: Request) -> bool:
        """Gives `request` blocks for all its present tokens; False if too few are available."""
        missing = request.num_blocks(self.block_size) - len(request.block_ids)
        if missing <= 0:
            return True
        if missing > self.num_available:
            return False
        for _ in range(missing):
            request.block_ids.append(self._take())
        return True

    def store(self, request: Request) -> None:
        """Makes every block of `request` that is full and computed known to the tree."""
        node = request.node
        assert node is not None
        while node.depth < self._num_storable_blocks(request):
            node = self._store_block(request, node)
        request.node = node

    def _num_storable_blocks(self, request: Request) -> int:
        return request.num_full_blocks(self.block_size) if self.shares_prefixes else 0

    def release(self, request: Request) -> None:
        """Takes all blocks back. Those in the tree stay cached until their place is needed."""
        for block in request.block_ids:
            self.pool.release(block)
        if request.node is not None:
            self.tree.unlock(request.node)
        request.forget_blocks()

    def _take(self) -> int:
        if not self.pool.num_free:
            self.pool.release(self.tree.evict())
        return self.pool.take()

    def _store_block(self, request: Request, node: Node) -> Node:
        """The block after `node`: new to the tree, or exchanged for the same one that is there."""
        index, key = node.depth, self.key_after(request, node)
        block = request.block_ids[index]
        twin = self.tree.descend(node, key)
        if twin is None:
            self.pool.share(block)
            return self.tree.add(node, key, block)
        self.pool.share(twin.block)
        self.pool.release(block)
        request.block_ids[index] = twin.block
        return twin

    def check(self, requests: Iterable[Request]) -> None:
        """Raises InternalError unless every block's holders are exactly the tree and `requests`."""
        self.pool.check()
        self.tree.check()
        holders: Counter[int] = Counter(node.block for node in self.tree.nodes())
        users: Counter[int] = Counter()
        for request in requests:
            _check_request(request, self._num_storable_blocks(request))
            holders.update(request.block_ids)
            users.update(request.block_ids[: request.node.depth] if request.node else ())
        for block in range(self.pool.num_blocks):
            if self.pool.num_holders(block) != holders[block]:
                raise InternalError(
                    f"Block {block} counts {self.pool.num_holders(block)} holders, not {holders[block]}."
                )
        for node in self.tree.nodes():
            if node.users != users[node.block]:
                raise InternalError(
                    f"Block {node.block} is locked {node.users} times by {users[node.block]}."
                )
            if holders[node.block] != users[node.block] + 1:
                raise InternalError(f"Block {node.block} is shared outside the tree.")


def _check_request(request: Request, num_stored: int) -> None:
    if request.node is None:
        if request.block_ids or request.num_computed:
            raise InternalError(f"Request {request.id} holds blocks without a place in the tree.")
        return
    depth = request.node.depth
    if list(request.block_ids[:depth]) != path_blocks(request.node):
        raise InternalError(f"Request {request.id} does not hold the blocks of its prefix.")
    if depth != num_stored:
        raise InternalError(
            f"Request {request.id} has {request.num_computed} tokens computed and {depth} blocks stored."
        )
    if len(request.block_ids) < depth or len(set(request.block_ids)) != len(request.block_ids):
        raise InternalError(f"Request {request.id} holds a block twice.")
