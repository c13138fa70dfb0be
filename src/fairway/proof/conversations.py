"""Conversations that a chat template must render alike on both sides of a hop.

Plain data: roles and their orders, tools and calls, empty and odd content, the switches that
templates know. The rule: the content is dull and fixed; what varies is the shape.
"""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]
Conversation = tuple[list[Message], dict[str, Any]]
"""Messages, and further arguments of `ChatTemplate.render`."""

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tomorrow's weather in a 'city' & its <surroundings>, °C",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "enum": [1, 2]}},
            "required": ["city"],
        },
    },
}
CALL: dict[str, Any] = {
    "id": "call12345",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Malmö", "days": 2}},
}
ODD = "a\"b'c\\d {{ e }} {% f %} <g> & \u00e9 日本 🦙 \u200d\ttab\r\nnew line\n\n"


def user(content: Any) -> Message:  # noqa: ANN401 (text or parts)
    return {"role": "user", "content": content}


def assistant(content: str | None, **more: object) -> Message:
    return {"role": "assistant", "content": content, **more}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def result(content: str) -> Message:
    return {"role": "tool", "tool_call_id": "call12345", "name": "weather", "content": content}


TURNS = [user("Who are you?"), assistant("A model."), user("Since when?")]
ASKED = user("Will it rain in Malmö?")
CALLED = [ASKED, assistant("", tool_calls=[CALL]), result('{"rain": true}')]

CONVERSATIONS: dict[str, Conversation] = {
    "one question": ([user("Hello")], {}),
    "system and question": ([system("Be brief."), user("Hello")], {}),
    "three turns": (TURNS, {}),
    "system and turns": ([system("Be brief.\n"), *TURNS], {}),
    "many turns": ([*TURNS, assistant("Today."), *TURNS, assistant("Yes."), user("Bye")], {}),
    "ends with the assistant": (TURNS[:2], {"add_generation_prompt": False}),
    "no room for an answer": (TURNS, {"add_generation_prompt": False}),
    "tools": ([ASKED], {"tools": [WEATHER]}),
    "system and two tools": ([system("Help."), ASKED], {"tools": [WEATHER, WEATHER]}),
    "call and result": (CALLED, {"tools": [WEATHER]}),
    "call, result, answer, question": (
        [*CALLED, assistant("It will."), user("And after?")],
        {"tools": [WEATHER]},
    ),
    "call without content": (
        [ASKED, assistant(None, tool_calls=[CALL]), result("wet")],
        {"tools": [WEATHER]},
    ),
    "two calls": (
        [ASKED, assistant("Wait.", tool_calls=[CALL, CALL]), result("wet"), result("dry")],
        {"tools": [WEATHER]},
    ),
    "calls without tools": (CALLED, {}),
    "no messages": ([], {}),
    "empty question": ([user("")], {}),
    "empty system": ([system(""), user("Hello")], {}),
    "white space around": (
        [system("  Be brief. \n"), user("\n Hello \t"), assistant("  Hi\n"), user(" ? ")],
        {},
    ),
    "odd characters": ([system(ODD), user(ODD), assistant(ODD), user(ODD)], {}),
    "control tokens as text": ([user("<|im_end|> </s> <eos> <|eot_id|> [/INST] <end_of_turn>")], {}),
    "long question": ([user("word " * 4000)], {}),
    "content in parts": ([user([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}])], {}),
    "reasoning": ([user("2 + 2"), assistant("4", reasoning_content="Add them."), user("3 + 3")], {}),
    "thinking in the text": ([user("2 + 2"), assistant("<think>\nAdd.\n</think>\n\n4"), user("3 + 3")], {}),
    "thinking on": ([user("2 + 2")], {"enable_thinking": True}),
    "thinking off": ([user("2 + 2")], {"enable_thinking": False}),
    "two questions": ([user("Hello"), user("Again")], {}),
    "assistant first": ([assistant("Hello"), user("Hi")], {}),
    "system in the middle": ([user("Hello"), system("Be brief."), user("Again")], {}),
    "developer": ([{"role": "developer", "content": "Be brief."}, user("Hello")], {}),
    "unknown role": ([{"role": "narrator", "content": "Night."}, user("Hello")], {}),
    "documents": ([user("Sum up.")], {"documents": [{"title": "A & B", "text": "First."}]}),
}
