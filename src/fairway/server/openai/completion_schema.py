"""The body of /v1/completions. `prompt` has four shapes; they become a list of prompts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WrapValidator

from fairway.errors import RequestError
from fairway.server.openai.request_fields import GenerationFields, TokenId
from fairway.server.validation import described

PROMPT = "a text, a list of texts, a list of token ids or a list of such lists"
DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for text completions."""

Prompt = Annotated[
    str | list[str] | list[TokenId] | list[list[TokenId]],
    WrapValidator(described(PROMPT)),
    Field(min_length=0),
]


class CompletionRequest(GenerationFields):
    """A text to continue."""

    prompt: Prompt
    echo: bool | None = Field(None, description="Put the prompt before the answer.")
    logprobs: int | None = Field(None, ge=0, description="The likeliest tokens at each position.")

    @property
    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        texts = [each for each in self.prompt if isinstance(each, str | list)]
        ids = [each for each in self.prompt if isinstance(each, int)]
        return [ids] if ids else texts

    def check(self, max_prompts: int) -> None:
        """What a schema cannot say. Raises `RequestError`."""
        if not self.prompts or [] in self.prompts:
            raise RequestError(
                "prompt is an empty list.", hint="Send at least one token or text.", param="prompt"
            )
        if len(self.prompts) > max_prompts:
            raise RequestError(
                f"prompt has {len(self.prompts)} prompts; the limit is {max_prompts}.", param="prompt"
            )
