"""What surrounds every OpenAI answer: id, time, model, fingerprint and usage."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import fairway
from fairway.runtimes.protocol import ModelInfo, Usage


@dataclass(frozen=True)
class Envelope:
    """One per request; chunks and complete answers share it."""

    id: str
    kind: str
    model: str
    system_fingerprint: str
    created: int = field(default_factory=lambda: int(time.time()))

    def around(self, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": self.kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "system_fingerprint": self.system_fingerprint,
            **more,
        }


def envelope(prefix: str, kind: str, name: str, info: ModelInfo) -> Envelope:
    return Envelope(f"{prefix}-{secrets.token_hex(12)}", kind, name, fingerprint(info))


def fingerprint(info: ModelInfo) -> str:
    """Changes when the program, the weights' form or the runtime does; then seeds may differ too."""
    parts = (fairway.__version__, info.runtime, info.architecture, info.weight_type, str(info.num_parameters))
    return "fw-" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:10]


def usage_answer(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
