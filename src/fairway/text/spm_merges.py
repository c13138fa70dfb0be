"""The merging at the heart of SentencePiece's BPE.

Of all neighbours whose joint text is a piece, the pair with the highest score joins first, leftmost
among equals, until none is left. Knows scores and strings, no ids.
Source: llama.cpp llm_tokenizer_spm, sentencepiece bpe_model.cc.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from fairway.text.pieces import SPACE_MARK


class MergeTable:
    """Splits a word into pieces by joining the best-scored neighbours first."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float]) -> None:
        order = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
        scored = zip(pieces, scores, strict=True)
        self._rank = {piece: order[score] for piece, score in scored if len(piece) > 1}
        inner_mark = re.compile(f"[^{SPACE_MARK}]{SPACE_MARK}")
        self.reaches_across_spaces = any(
            SPACE_MARK in piece and inner_mark.search(piece) is not None for piece in pieces
        )

    def split(self, word: str) -> list[str]:
        """The symbol that starts at i ends at `end[i]`; 0 where no symbol starts.

        A heap entry packs (rank, start, end) of a possible join into one integer, so entries order by
        score and then from the left; one is stale unless two symbols still meet and end there.
        """
        size = len(word)
        rank = self._rank
        end = list(range(1, size + 1))
        before = list(range(-1, size))
        bits = size.bit_length()
        mask = (1 << bits) - 1
        pairs = (rank.get(word[i : i + 2]) for i in range(size - 1))
        heap = [(((r << bits) | i) << bits) | (i + 2) for i, r in enumerate(pairs) if r is not None]
        heapify(heap)
        while heap:
            entry = heappop(heap)
            stop, start = entry & mask, (entry >> bits) & mask
            middle = end[start]
            if middle == 0 or middle >= size or end[middle] != stop:
                continue
            end[start], end[middle] = stop, 0
            before[stop] = start
            previous = before[start]
            if previous >= 0 and (joined := rank.get(word[previous:stop])) is not None:
                heappush(heap, (((joined << bits) | previous) << bits) | stop)
            if stop < size and (joined := rank.get(word[start : end[stop]])) is not None:
                heappush(heap, (((joined << bits) | start) << bits) | end[stop])
        return [word[start:stop] for start, stop in enumerate(end) if stop]
