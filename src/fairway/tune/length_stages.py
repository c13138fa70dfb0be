"""`length_stages` as users write them: "256:0.66" is windows of 256 tokens for 66 % of the updates."""

from __future__ import annotations

from collections.abc import Sequence

from fairway.errors import SettingsError

SHORTEST = 8


def read_stage(text: str) -> tuple[int, float]:
    """(tokens of a window, share of the updates). Raises `SettingsError`."""
    length, _, share = text.partition(":")
    try:
        found = int(length), float(share)
    except ValueError:
        found = 0, 0.0
    if found[0] < SHORTEST or not 0 < found[1] < 1:
        raise SettingsError(
            f"length_stages has {text!r}, which is no LENGTH:SHARE of {SHORTEST} tokens or more and a share "
            "between 0 and 1.",
            hint="Say 256:0.66.",
            param="length_stages",
        )
    return found


def check_stages(stages: Sequence[str], max_length: int | None) -> None:
    """They grow, and leave updates for windows of max_length. Raises `SettingsError`."""
    read = [read_stage(each) for each in stages]
    lengths = [length for length, _ in read] + ([] if max_length is None else [max_length])
    if lengths != sorted(set(lengths)):
        raise SettingsError(
            f"The windows of length_stages do not grow: {', '.join(map(str, lengths))}.",
            hint="Order them, below max_length.",
            param="length_stages",
        )
    if sum(share for _, share in read) >= 1:
        raise SettingsError(
            "The shares of length_stages leave no update for windows of max_length.",
            hint="Leave the last stage out: it is max_length.",
            param="length_stages",
        )
