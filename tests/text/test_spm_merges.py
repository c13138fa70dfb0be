"""The merging equals the definition: again and again, the best-scored leftmost pair joins."""

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fairway.text.spm_merges import MergeTable

LETTERS = st.sampled_from("ab▁c")
PIECES = st.dictionaries(st.text(LETTERS, min_size=2, max_size=5), st.integers(-5, 5), max_size=25)


def by_definition(word: str, scores: dict[str, float]) -> list[str]:
    symbols = list(word)
    while True:
        pairs = [(scores[a + b], -i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in scores]
        if not pairs:
            return symbols
        at = -max(pairs)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


@given(scores=PIECES, word=st.text(LETTERS, max_size=30))
def test_split_is_the_definition(scores: dict[str, float], word: str) -> None:
    table = MergeTable(list(scores), list(scores.values()))
    assert table.split(word) == by_definition(word, scores)


def test_equal_scores_join_from_the_left() -> None:
    assert MergeTable(["aa", "aaa"], [0.0, 0.0]).split("aaaaa") == ["aaa", "aa"]


def test_pieces_that_reach_across_a_space_are_noticed() -> None:
    assert MergeTable(["a▁b"], [0.0]).reaches_across_spaces
    assert not MergeTable(["▁▁a", "▁a", "a", "▁▁"], [0.0] * 4).reaches_across_spaces


def test_a_long_word_takes_no_more_than_linear_patience() -> None:
    table = MergeTable(["a" * length for length in range(2, 17)], [-float(n) for n in range(15)])
    begun = time.thread_time()
    assert "".join(table.split("a" * 200_000)) == "a" * 200_000
    assert time.thread_time() - begun < 5
