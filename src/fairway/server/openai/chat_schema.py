"""The body of /v1/chat/completions, and the two fields whose values are partly for later."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from fairway.errors import RequestError
from fairway.server.openai.messages import GivenTool, Message
from fairway.server.openai.request_fields import GenerationFields

LATER = "Constrained output is not available yet."


class ResponseFormat(BaseModel):
    """Only plain text so far; the other kinds are refused by name."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["text", "json_object", "json_schema"]


class NamedToolChoice(BaseModel):
    """A demand to call something; refused so far."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str


def _kind_of_choice(choice: object) -> str:
    return "~word" if isinstance(choice, str) else "~named"


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("~word")] | Annotated[NamedToolChoice, Tag("~named")],
    Discriminator(_kind_of_choice),
]


class ChatRequest(GenerationFields):
    """A conversation to continue."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, lt=1 << 31, description="As max_tokens.")
    logprobs: bool | None = Field(None, description="Report the log probability of each token.")
    top_logprobs: int | None = Field(None, ge=0, description="And of so many others; needs logprobs.")
    response_format: ResponseFormat | None = None
    tools: list[GivenTool] | None = Field(None, description="Shown to the model by its chat template.")
    tool_choice: ToolChoice | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(None, description="Variables for the chat template.")
    add_generation_prompt: bool | None = Field(None, description="Open the assistant's turn; default true.")
    reasoning_effort: str | None = Field(None, description="Given to the chat template.")

    def check(self) -> None:
        """What a schema cannot say. Raises `RequestError`."""
        if self.max_tokens == 0:
            raise RequestError("max_tokens is 0; it must be at least 1.", param="max_tokens")
        both = self.max_tokens is not None and self.max_completion_tokens is not None
        if both and self.max_tokens != self.max_completion_tokens:
            raise RequestError(
                f"max_tokens is {self.max_tokens} and max_completion_tokens is {self.max_completion_tokens}.",
                hint="They mean the same; send one of them.",
                param="max_tokens",
            )
        if self.top_logprobs and not self.logprobs:
            raise RequestError("top_logprobs needs logprobs to be true.", param="top_logprobs")
        self._check_constraints()

    def _check_constraints(self) -> None:
        if self.response_format is not None and self.response_format.type != "text":
            raise RequestError(
                f"response_format of type {self.response_format.type!r} is not supported.",
                hint=LATER,
                param="response_format",
            )
        if self.tool_choice not in (None, "none", "auto"):
            raise RequestError(
                "tool_choice may only be none or auto: a call cannot be forced.",
                hint=LATER,
                param="tool_choice",
            )
        if self.tool_choice == "auto" and not self.tools:
            raise RequestError("tool_choice is auto, but there are no tools.", param="tool_choice")
        if any(tool["function"].get("strict") for tool in self.tools or []):
            raise RequestError("One of tools is marked strict.", hint=LATER, param="tools")
