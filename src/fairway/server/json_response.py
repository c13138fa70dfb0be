"""A JSON answer, encoded once by pydantic's encoder. Numbers that JSON has no word for become null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


def encode(content: Mapping[str, Any]) -> bytes:
    return to_json(content, inf_nan_mode="null")


class JsonResponse(Response):
    """`content` is anything made of dicts, lists, texts and numbers."""

    media_type = "application/json"

    def render(self, content: Mapping[str, Any]) -> bytes:
        return encode(content)
