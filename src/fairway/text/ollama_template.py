"""Renders a conversation with an Ollama template, as Ollama does it.

A template that reads .Messages is rendered once; an older one, with .Prompt and .Response, once for each
turn, the last time only up to .Response, where the answer begins. Messages have OpenAI's form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fairway.text.go_template import GoTemplate
from fairway.text.go_template_nodes import (
    Action,
    Call,
    Command,
    Dot,
    Fields,
    If,
    Node,
    Nodes,
    Operand,
    Pipe,
    Range,
    Tree,
    With,
)
from fairway.text.go_template_values import Value, from_json
from fairway.text.ollama_types import CHAT_DATA, TEXT, TURN_DATA

_RESPONSE = Action(Pipe((Command((Fields(Dot(), ("Response",)),)),)))


@dataclass(frozen=True)
class Thinking:
    """What the caller said about reasoning."""

    think: bool = False
    level: str = ""
    is_set: bool = False

    @property
    def switches(self) -> dict[str, Value]:
        return {"Think": self.think, "ThinkLevel": self.level, "IsThinkSet": self.is_set}


class OllamaTemplate:
    """A parsed template. Raises `FormatError` where it is broken."""

    def __init__(self, source: str, *, clock: Callable[[], datetime] = datetime.now) -> None:
        self.source = source
        self._template = GoTemplate(source, clock=clock)
        self.tree = with_response(self._template.tree)
        self.reads_messages = "messages" in names_read(self.tree)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        thinking: Thinking = Thinking(),
    ) -> str:
        """The prompt. Raises `RequestError` where the template fails on these messages."""
        if self.reads_messages:
            return self._template.execute(chat_data(messages, tools, thinking), self.tree)
        return self._turns(collate(messages)[1], thinking.switches)

    def fill(self, prompt: str, suffix: str) -> str:
        """For models that complete code between two texts."""
        return self._template.execute({"Prompt": prompt, "Suffix": suffix, "Response": ""}, self.tree)

    def _turns(self, messages: Sequence[Mapping[str, Any]], switches: dict[str, Value]) -> str:
        *complete, last = turns(messages)
        cut = replace(self.tree, body=cut_at_response(self.tree.body))
        pieces = [self._template.execute(_data(turn) | switches, self.tree) for turn in complete]
        return "".join([*pieces, self._template.execute(_data(last) | switches, cut)])


def chat_data(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    thinking: Thinking = Thinking(),
) -> dict[str, Value]:
    """What a template that reads .Messages is given."""
    system, collated = collate(messages)
    data = {"System": system, "Messages": collated, "Tools": tools, "Response": "", **thinking.switches}
    return {name: from_json(kind, data[name]) for name, kind in CHAT_DATA.items()}


def _data(turn: Mapping[str, str]) -> dict[str, Value]:
    return {name: turn.get(name.lower(), "") for name, kind in TURN_DATA.items() if kind == TEXT}


def collate(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """All system messages joined, and the conversation with neighbours of one role made one message.

    Messages of tools stay apart: each answers a call of its own.
    """
    system: list[str] = []
    collated: list[dict[str, Any]] = []
    for message in messages:
        content = message.get("content") or ""
        role = message.get("role")
        if role == "system":
            system.append(content)
        if collated and role != "tool" and collated[-1].get("role") == role:
            if content:
                collated[-1]["content"] += f"\n\n{content}"
            continue
        collated.append({"tool_name": message.get("name", ""), **message, "content": content})
    return "\n\n".join(system), collated


def turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """System, prompt and response of each turn; the last one is the one to be answered."""
    done: list[dict[str, str]] = []
    turn: dict[str, str] = {}
    for message in messages:
        role, content = message.get("role"), str(message.get("content") or "")
        ends = {"system": ("prompt", "response"), "user": ("response",)}.get(str(role), ())
        if any(turn.get(part) for part in ends):
            done.append(turn)
            turn = {}
        part = {"system": "system", "user": "prompt", "assistant": "response"}.get(str(role))
        if part is not None:
            turn[part] = content
    return [*done, turn]


def names_read(tree: Tree) -> set[str]:
    """Fields that a template reads anywhere, in lower case."""
    names: set[str] = set()
    for body in (tree.body, *tree.named.values()):
        for node in body:
            names |= _names(node)
    return {name.lower() for name in names}


def _names(node: Node) -> set[str]:
    if isinstance(node, Action | Call):
        return _names_of(node.pipe) if node.pipe is not None else set()
    if isinstance(node, If | With | Range):
        inside = [_names(child) for child in (*node.body, *node.otherwise)]
        return _names_of(node.pipe).union(*inside)
    return set()


def _names_of(operand: Operand) -> set[str]:
    if isinstance(operand, Fields):
        return set(operand.names) | _names_of(operand.of)
    if isinstance(operand, Pipe):
        arguments = [argument for command in operand.commands for argument in command.arguments]
        return set().union(*map(_names_of, arguments))
    return set()


def with_response(tree: Tree) -> Tree:
    """The tree itself, or with .Response at its end where it reads neither that nor .Messages."""
    if names_read(tree) & {"messages", "response"}:
        return tree
    return replace(tree, body=(*tree.body, _RESPONSE))


def cut_at_response(nodes: Nodes) -> Nodes:
    """What stands before the first .Response that is printed, and that itself."""
    return _cut(nodes)[0]


def _cut(nodes: Nodes) -> tuple[Nodes, bool]:
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, If | With | Range):
            body, found = _cut(node.body)
            otherwise, later = ((), True) if found else _cut(node.otherwise)
            kept.append(replace(node, body=body, otherwise=otherwise))
            found = found or later
        else:
            kept.append(node)
            found = isinstance(node, Action) and "Response" in _names_of(node.pipe)
        if found:
            return tuple(kept), True
    return tuple(kept), False
