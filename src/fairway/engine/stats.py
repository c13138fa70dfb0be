"""The engine in numbers, at one moment.

Immutable, so that the worker can hand it to other threads; totals count from the engine's start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EngineStats:
    """Totals only grow. Blocks: used + cached + free = total."""

    num_running: int = 0
    num_waiting: int = 0
    kv_blocks_total: int = 0
    kv_blocks_used: int = 0
    """Held by running requests."""
    kv_blocks_cached: int = 0
    """Held by the prefix cache alone, free to be taken."""
    prompt_tokens_total: int = 0
    """Prompt tokens of requests that began to run, cached ones included."""
    generated_tokens_total: int = 0
    cached_tokens_total: int = 0
    preemptions_total: int = 0
    requests_total: Mapping[str, int] = field(default_factory=dict)
    """Finished requests by finish reason."""
