import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairway.engine.radix_tree import Node, RadixTree, path_blocks
from fairway.errors import InternalError


def put(tree: RadixTree, keys: str, blocks: list[int]) -> Node:
    """Adds a path and leaves it unlocked."""
    node = tree.root
    for key, block in zip(keys, blocks, strict=True):
        node = tree.descend(node, key) or tree.add(node, key, block)
    tree.unlock(node)
    tree.check()
    return node


def test_match_finds_the_longest_prefix() -> None:
    tree = RadixTree()
    put(tree, "abc", [1, 2, 3])
    put(tree, "abd", [1, 2, 4])
    assert path_blocks(tree.match("abcx")) == [1, 2, 3]
    assert path_blocks(tree.match("abx")) == [1, 2]
    assert tree.match("x") is tree.root
    assert tree.num_nodes == tree.num_unlocked == 4


def test_the_leaf_used_longest_ago_goes_first_and_then_its_parent() -> None:
    tree = RadixTree()
    put(tree, "ab", [1, 2])
    put(tree, "cd", [3, 4])
    tree.lock(tree.match("a"))
    tree.unlock(tree.match("a"))
    assert [tree.evict() for _ in range(4)] == [2, 4, 3, 1]
    assert tree.num_nodes == tree.num_unlocked == 0
    tree.check()


def test_a_locked_path_is_never_evicted() -> None:
    tree = RadixTree()
    put(tree, "abc", [1, 2, 3])
    held = tree.match("ab")
    tree.lock(held)
    assert tree.num_unlocked == 1
    assert tree.evict() == 3
    with pytest.raises(IndexError):
        tree.evict()
    tree.unlock(held)
    assert tree.evict() == 2


def test_using_paths_over_and_over_does_not_grow_the_tree() -> None:
    tree = RadixTree()
    put(tree, "abc", [1, 2, 3])
    for _ in range(1000):
        tree.lock(tree.match("abc"))
        tree.unlock(tree.match("abc"))
    assert len(tree._oldest) < 100
    tree.check()


def test_a_prefix_is_added_once() -> None:
    tree = RadixTree()
    put(tree, "a", [1])
    with pytest.raises(InternalError, match="already"):
        tree.add(tree.root, "a", 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: setattr(tree, "num_nodes", 7),
        lambda tree: setattr(tree, "num_unlocked", 1),
        lambda tree: setattr(tree.match("ab"), "users", 5),
        lambda tree: setattr(tree.match("ab"), "block", 1),
        lambda tree: setattr(tree.match("ab"), "depth", 3),
        lambda tree: setattr(tree.match("ab"), "parent", tree.root),
        lambda tree: setattr(tree.match("a"), "last_used", 0),
        lambda tree: tree._oldest.clear(),
    ],
)
def test_check_sees_what_is_wrong(spoil) -> None:
    tree = RadixTree()
    put(tree, "ab", [1, 2])
    spoil(tree)
    with pytest.raises(InternalError):
        tree.check()


class TreeAgainstAList(RuleBasedStateMachine):
    """The tree beside the plainest thing that could work: a dictionary from prefix to time of use."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = RadixTree()
        self.used: dict[str, int] = {}
        self.locked: list[str] = []
        self.time = 0

    def node(self, path: str) -> Node:
        node = self.tree.match(path)
        assert node.depth == len(path)
        return node

    @rule(path=st.text("ab", min_size=1, max_size=5))
    def enter(self, path: str) -> None:
        node = self.tree.root
        for depth, key in enumerate(path, 1):
            node = self.tree.descend(node, key) or self.tree.add(node, key, self.tree._serial)
            self.used.setdefault(path[:depth], 0)
        self.locked.append(path)

    @precondition(lambda self: self.locked)
    @rule(random=st.randoms(use_true_random=False))
    def leave(self, random: random.Random) -> None:
        path = self.locked.pop(random.randrange(len(self.locked)))
        self.time += 1
        self.tree.unlock(self.node(path))
        for depth in range(1, len(path) + 1):
            self.used[path[:depth]] = self.time

    @precondition(lambda self: self.tree.num_unlocked)
    @rule()
    def evict(self) -> None:
        inner = {path[:-1] for path in self.used}
        leaves = [
            p for p in self.used if p not in inner and not any(held.startswith(p) for held in self.locked)
        ]
        expected = min(self.used[p] for p in leaves)
        oldest = {self.node(p).block: p for p in leaves if self.used[p] == expected}
        del self.used[oldest[self.tree.evict()]]

    @rule(path=st.text("ab", max_size=6))
    def match(self, path: str) -> None:
        longest = max(n for n in range(len(path) + 1) if n == 0 or path[:n] in self.used)
        assert self.tree.match(path).depth == longest

    @invariant()
    def holds(self) -> None:
        self.tree.check()
        assert self.tree.num_nodes == len(self.used)


TestTreeAgainstAList = TreeAgainstAList.TestCase
