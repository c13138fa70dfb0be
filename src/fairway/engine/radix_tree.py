"""Prefixes that lie in the cache, as a tree whose every edge is one whole block of tokens.

Knows keys (a block's tokens) and block ids, no requests and no pool. A request locks the path it
reads; what nobody has locked is evicted, oldest leaf first. The rule: a node is locked at least as
often as its children together, so an unlocked node has only unlocked nodes below it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from heapq import heapify, heappop, heappush

from fairway.errors import InternalError


class Node:
    """One cached block, after the blocks of the nodes above it."""

    __slots__ = ("block", "children", "depth", "key", "last_used", "parent", "serial", "users")

    def __init__(self, parent: Node | None, key: Hashable, block: int, serial: int) -> None:
        self.parent = parent
        self.key = key
        self.block = block
        self.depth: int = parent.depth + 1 if parent else 0
        """Blocks from the root down to here."""
        self.children: dict[Hashable, Node] = {}
        self.users = 0
        self.last_used = 0
        self.serial = serial


class RadixTree:
    """Shares prefixes. Time is a count of uses, so the same calls always evict the same blocks."""

    def __init__(self) -> None:
        self.root = Node(None, None, -1, 0)
        self.num_nodes = 0
        self.num_unlocked = 0
        """Nodes that nobody uses: all of them could be evicted."""
        self._time = 0
        self._serial = 0
        self._oldest: list[tuple[int, int, Node]] = []
        """Heap of leaves that were unlocked at that time; an entry whose time has passed is void."""

    def match(self, keys: Iterable[Hashable]) -> Node:
        """The deepest node whose path is a prefix of `keys`."""
        node = self.root
        for key in keys:
            child = node.children.get(key)
            if child is None:
                break
            node = child
        return node

    def lock(self, node: Node) -> None:
        """Keeps the path down to `node` from being evicted, once more."""
        for step in upwards(node):
            self._lock_one(step)

    def unlock(self, node: Node) -> None:
        """Undoes one `lock`; the path counts as used now."""
        self._time += 1
        for step in upwards(node):
            step.users -= 1
            step.last_used = self._time
            if step.users == 0:
                self.num_unlocked += 1
                self._offer(step)

    def touch(self, node: Node) -> None:
        """The path down to `node` counts as used now."""
        self.lock(node)
        self.unlock(node)

    def descend(self, node: Node, key: Hashable) -> Node | None:
        """The child of a locked node, locked too; None if there is none."""
        child = node.children.get(key)
        if child is not None:
            self._lock_one(child)
        return child

    def add(self, node: Node, key: Hashable, block: int) -> Node:
        """A new child of a locked node, locked by the one who adds it."""
        if key in node.children:
            raise InternalError("This prefix is in the tree already.")
        self._serial += 1
        child = Node(node, key, block, self._serial)
        child.users = 1
        node.children[key] = child
        self.num_nodes += 1
        return child

    def evict(self) -> int:
        """Forgets the leaf that was used longest ago and returns its block. There must be one."""
        while True:
            time, _, node = heappop(self._oldest)
            if self._is_evictable(node, time):
                return self._remove(node)

    def nodes(self) -> Iterator[Node]:
        """Every node below the root, parents first."""
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def _lock_one(self, node: Node) -> None:
        if node.users == 0:
            self.num_unlocked -= 1
        node.users += 1

    def _remove(self, node: Node) -> int:
        parent = node.parent
        assert parent is not None
        del parent.children[node.key]
        node.parent = None
        self.num_nodes -= 1
        self.num_unlocked -= 1
        if parent is not self.root and parent.users == 0:
            self._offer(parent)
        return node.block

    def _offer(self, node: Node) -> None:
        if node.children:
            return
        heappush(self._oldest, (node.last_used, node.serial, node))
        if len(self._oldest) > 2 * self.num_nodes + 64:
            self._oldest = [entry for entry in self._oldest if self._is_evictable(entry[2], entry[0])]
            heapify(self._oldest)

    @staticmethod
    def _is_evictable(node: Node, time: int) -> bool:
        in_tree = node.parent is not None
        return in_tree and node.users == 0 and not node.children and node.last_used == time

    def check(self) -> None:
        """Raises InternalError unless links, counts, locks and the order of eviction agree."""
        nodes = list(self.nodes())
        offered = {id(node) for time, _, node in self._oldest if self._is_evictable(node, time)}
        unlocked = [node for node in nodes if node.users == 0]
        _require(len(nodes) == self.num_nodes, "The tree has lost count of its nodes.")
        _require(len(unlocked) == self.num_unlocked, "The tree has lost count of its unlocked nodes.")
        _require(len({node.block for node in nodes}) == len(nodes), "A block is in the tree twice.")
        leaves = {id(node) for node in unlocked if not node.children}
        _require(leaves == offered, "The unlocked leaves are not those that can be evicted.")
        for node in nodes:
            self._check_node(node)

    def _check_node(self, node: Node) -> None:
        parent = node.parent
        _require(parent is not None and parent.children.get(node.key) is node, "A node lost its parent.")
        _require(parent is not None and node.depth == parent.depth + 1, "A node has the wrong depth.")
        below = sum(child.users for child in node.children.values())
        _require(node.users >= below, "A node is locked less often than the nodes below it.")
        if node.users == 0:
            newest = max((child.last_used for child in node.children.values()), default=0)
            _require(node.last_used >= newest, "A node seems older than one below it.")


def upwards(node: Node) -> Iterator[Node]:
    """The node and those above it, without the root."""
    while node.parent is not None:
        yield node
        node = node.parent


def path_blocks(node: Node) -> list[int]:
    """Blocks from the root down to `node`."""
    return [step.block for step in upwards(node)][::-1]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InternalError(message)
