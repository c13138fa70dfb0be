"""What a user may write for MODEL, read without touching disk or network.

Hub ids are `org/name`, optionally with a selector: `org/name:file.gguf` or `org/name:Q4_K_M`.
The hub's web addresses mean the same thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BUILTIN = "builtin"
HUB_ADDRESSES = ("https://huggingface.co/", "https://hf.co/", "hf.co/", "huggingface.co/", "hf://")
# https://huggingface.co/docs/hub/repositories-getting-started: letters, digits, '-', '_' and '.'
HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]{0,95}/[\w.-]{1,96})(?::(?P<selector>[^:\\]+))?", re.ASCII)
MODEL_SUFFIXES = (".gguf", ".safetensors")


@dataclass(frozen=True)
class HubId:
    """A repository of the hub and, if given, which of its files or quantisations is meant."""

    repo: str
    selector: str | None = None

    def __str__(self) -> str:
        return self.repo if self.selector is None else f"{self.repo}:{self.selector}"


def parse_hub_id(text: str) -> HubId | None:
    """The hub id that a text spells, or None if it cannot be one."""
    for address in HUB_ADDRESSES:
        text = text.removeprefix(address)
    match = HUB_ID.fullmatch(text.rstrip("/"))
    if match is None or ".." in match["repo"] or match["repo"].endswith(MODEL_SUFFIXES):
        return None
    return HubId(match["repo"], match["selector"])


def looks_like_path(text: str) -> bool:
    """True for what can only be meant as a file or folder of this machine."""
    is_file_name = text.endswith(MODEL_SUFFIXES) and ":" not in text
    return is_file_name or text.startswith((".", "/", "~", "\\")) or text[1:3] == ":\\"
