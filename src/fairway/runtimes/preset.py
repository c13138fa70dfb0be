"""What a Modelfile adds to every conversation and every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairway.formats.bundle import Preset
from fairway.runtimes.protocol import GenerationRequest


def with_preset_messages(
    messages: Sequence[Mapping[str, Any]], preset: Preset | None
) -> Sequence[Mapping[str, Any]]:
    """As Ollama puts them together: the system message unless the conversation begins with its own, the
    preset messages, then the conversation."""
    if preset is None:
        return messages
    begins_itself = bool(messages) and messages[0].get("role") == "system"
    system = [] if begins_itself or preset.system is None else [("system", preset.system)]
    added = [{"role": role, "content": content} for role, content in (*system, *preset.messages)]
    return [*added, *messages]


def with_preset_stops(request: GenerationRequest, preset: Preset | None) -> GenerationRequest:
    """The preset's stop strings beside the request's own: they mark the ends of turns."""
    if preset is None or not preset.stop:
        return request
    return replace(request, stop=tuple(dict.fromkeys((*request.stop, *preset.stop))))
