"""What a user chooses about the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Learn = Literal["assistant", "last", "all"]
TooLong = Literal["refuse", "skip", "truncate", "keep"]


@dataclass(frozen=True)
class DataSettings:
    """The default of every field is what most people want."""

    learn: Learn = "assistant"
    """Every answer, the last answer only, or every token."""
    max_length: int | None = None
    """Tokens of one example; None: what the model's context holds."""
    too_long: TooLong = "refuse"
    """What becomes of a longer example; "keep": windows are cut from it later."""
    raw: bool = False
    """Prompt and completion are joined as they are, without the chat template."""
