"""From a conversation to the ids the model reads, through the model's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairway.errors import RequestError
from fairway.runtimes.protocol import Runtime
from fairway.server.answering import on_helper_thread
from fairway.server.openai.messages import GivenTool, Message, for_template

# Names the template's renderer takes itself.
RESERVED_VARIABLES = frozenset({"self", "messages", "tools", "add_generation_prompt"})


@dataclass(frozen=True)
class Conversation:
    """Everything a chat template is given."""

    messages: Sequence[Message]
    tools: Sequence[GivenTool] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool | None = None
    """None: as the template's renderer does by itself."""

    def __post_init__(self) -> None:
        if reserved := RESERVED_VARIABLES & self.variables.keys():
            name = f"chat_template_kwargs.{min(reserved)}"
            raise RequestError(f"{name} cannot be set there.", hint="Use the field of that name.", param=name)


async def conversation_ids(runtime: Runtime, conversation: Conversation) -> list[int]:
    """The conversation rendered and encoded. Refuses tools that the template would leave out."""
    messages = for_template(conversation.messages)
    variables = dict(conversation.variables)
    if conversation.add_generation_prompt is not None:
        variables["add_generation_prompt"] = conversation.add_generation_prompt
    plain = await on_helper_thread(runtime.chat_prompt, messages, **variables)
    if not conversation.tools:
        return plain
    with_tools = await on_helper_thread(runtime.chat_prompt, messages, tools=conversation.tools, **variables)
    if with_tools == plain:
        raise RequestError("This model's chat template has no place for tools.", param="tools")
    return with_tools
