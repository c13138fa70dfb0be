"""What to do with a server that runs: the page to open, a curl line, three lines of Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUESTION = "Tell me a little story."


@dataclass(frozen=True)
class Addresses:
    """How one served model is reached. A key is named by its variable and never printed."""

    url: str
    model: str
    has_chat_template: bool
    needs_key: bool

    @property
    def page(self) -> str:
        return f"{self.url}/"

    @property
    def curl(self) -> str:
        path = "/v1/chat/completions" if self.has_chat_template else "/v1/completions"
        key = " -H 'Authorization: Bearer '$OPENAI_API_KEY" if self.needs_key else ""
        body = json.dumps({"model": self.model, **self._prompt(), "max_tokens": 64}).replace("'", "'\\''")
        return f"curl {self.url}{path}{key} -H 'Content-Type: application/json' -d '{body}'"

    @property
    def python(self) -> list[str]:
        # Without api_key the client reads OPENAI_API_KEY.
        key = "" if self.needs_key else ', api_key="none"'
        create = "chat.completions" if self.has_chat_template else "completions"
        asked = ", ".join(f"{name}={json.dumps(value)}" for name, value in self._prompt().items())
        answer = "message.content" if self.has_chat_template else "text"
        return [
            "from openai import OpenAI",
            f'client = OpenAI(base_url="{self.url}/v1"{key})',
            f"print(client.{create}.create(model={json.dumps(self.model)}, {asked}, max_tokens=64)"
            f".choices[0].{answer})",
        ]

    def lines(self) -> list[tuple[str, str]]:
        """(what, text) for people; continued lines have no name."""
        named = [("page", self.page), ("curl", self.curl), ("python", self.python[0])]
        return named + [("", line) for line in self.python[1:]]

    def to_dict(self) -> dict[str, Any]:
        return {"url": self.url, "page": self.page, "curl": self.curl, "python": self.python}

    def _prompt(self) -> Mapping[str, Any]:
        if self.has_chat_template:
            return {"messages": [{"role": "user", "content": QUESTION}]}
        return {"prompt": "Once upon a time"}
