"""The tree of a Go text/template, as the parser draws it and interpreter and compiler walk it.

Node                        what stands in the text
├── Text                    literal
├── Action                  {{ pipe }}: prints its value, unless the pipe declares or assigns
├── If, With, Range         {{ if pipe }} body {{ else }} otherwise {{ end }}
├── Call                    {{ template "name" pipe }}
└── Break, Continue
Operand                     what stands inside an action
├── Pipe                    $a, $b := command | command
│   └── Command             a function or a value, with arguments
├── Dot, Nil, Literal       .   nil   "text" 3 true
├── Variable, Function      $name   name
└── Fields                  operand.Name.Name
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Dot:
    pass


@dataclass(frozen=True)
class Nil:
    pass


@dataclass(frozen=True)
class Literal:
    value: str | int | float | bool


@dataclass(frozen=True)
class Variable:
    name: str
    """With its dollar sign; "$" alone is what the template was given."""


@dataclass(frozen=True)
class Function:
    name: str


@dataclass(frozen=True)
class Fields:
    of: Operand
    names: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    arguments: tuple[Operand, ...]
    """At least one; the first is what is called, or the value itself."""


@dataclass(frozen=True)
class Pipe:
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False
    """Whether `variables` are new (:=) or set again (=)."""


@dataclass(frozen=True)
class Action:
    pipe: Pipe


@dataclass(frozen=True)
class If:
    pipe: Pipe
    body: Nodes
    otherwise: Nodes


@dataclass(frozen=True)
class With:
    pipe: Pipe
    body: Nodes
    otherwise: Nodes


@dataclass(frozen=True)
class Range:
    pipe: Pipe
    body: Nodes
    otherwise: Nodes


@dataclass(frozen=True)
class Call:
    name: str
    pipe: Pipe | None


@dataclass(frozen=True)
class Break:
    pass


@dataclass(frozen=True)
class Continue:
    pass


Operand: TypeAlias = Dot | Nil | Literal | Variable | Function | Fields | Pipe
Branch: TypeAlias = If | With | Range
Node: TypeAlias = Text | Action | Branch | Call | Break | Continue
Nodes: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True)
class Tree:
    """A whole template: its body, and the named ones that it defines."""

    body: Nodes
    named: dict[str, Nodes]
