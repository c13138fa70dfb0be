"""The values of a pickle without its program: plain containers, and what the caller knows how to build.

A pickle is a program for a small stack machine, and its GLOBAL instruction imports anything. This
machine has the same stack and no import: a name is looked up in the caller's table, and a name that
is not there ends the reading, named. The opcodes are decoded by the standard library's disassembler.
https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import io
import pickletools
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import IO, Any, NoReturn, cast

from fairway.errors import FormatError, UnsupportedError

MAX_WORK = 5_000_000
"""Instructions, and items that they copy: what 100,000 tensors take."""
SET_WORK = 8
"""A set takes the memory of so many other values."""
BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What a broken pickle makes of the disassembler, the stack and the builders."""
NOT_EXECUTED = "Nothing of it was executed."

Build = Callable[..., object]
"""Makes a value from the arguments that the pickle would have called the name with."""


class Record(dict[str, Any]):
    """An object that is nothing but its attributes."""


ARGUMENT = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
})  # fmt: skip
CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: Mapping[str, Callable[[], object]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
KEYS = (str, int, float, bytes, type(None))
"""What may be a key: tuples of tuples have no end to their hash."""


def keys(items: Iterable[Any]) -> list[Any]:
    """The items, if each may be a key of a dictionary or a member of a set."""
    found = list(items)
    if not all(type(item) in KEYS or type(item) is bool for item in found):
        raise TypeError("a key that is neither text nor a number")
    return found


def pairs(items: Sequence[Any]) -> dict[Any, Any]:
    """A dictionary from keys and values in turn."""
    return dict(zip(keys(items[::2]), items[1::2], strict=True))


MARKED: Mapping[str, Callable[[list[Any]], object]] = {
    "LIST": list,
    "TUPLE": tuple,
    "FROZENSET": lambda items: frozenset(keys(items)),
    "DICT": pairs,
}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUT = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])
GET = frozenset(["GET", "BINGET", "LONG_BINGET"])
IGNORED = frozenset(["PROTO", "FRAME"])


def _latin1(text: str, coding: str) -> bytes:
    """How protocols before 3 spell bytes."""
    if not (isinstance(text, str) and isinstance(coding, str) and coding == "latin1"):
        raise ValueError("bytes spelled otherwise than in latin1")
    return text.encode(coding)


def _bytes(values: Sequence[int] = ()) -> bytes:
    """Of numbers one by one; `bytes(n)` would make as many zeros as a pickle claims."""
    if not isinstance(values, bytes | list | tuple):
        raise TypeError("bytes made of no list of numbers")
    return bytes(values)


BUILTINS: Mapping[str, Build] = {
    "set": lambda items=(): set(keys(items)),
    "frozenset": lambda items=(): frozenset(keys(items)),
    "bytes": _bytes,
}
PLAIN: Mapping[str, Build] = {
    "_codecs.encode": _latin1,
    **{f"{module}.{name}": BUILTINS[name] for module in ("builtins", "__builtin__") for name in BUILTINS},
}


def read_values(
    stream: IO[bytes], names: Mapping[str, Build], persistent: Callable[[object], object], where: str
) -> Any:  # noqa: ANN401
    """What the next pickle of `stream` holds; the stream then stands behind it.

    `names` maps "module.name" to what builds such a value; `persistent` turns a persistent id into a
    value. Raises `UnsupportedError` naming anything else the pickle would call and `FormatError` for
    one that is broken; `where` names it in both.
    """
    machine = _Machine(names, persistent, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the disassembler's, about odd escapes in broken files
            instructions = pickletools.genops(cast("IO[bytes]", _Bounded(stream)))
            for opcode, argument, _ in instructions:
                machine.spend(1)
                if opcode.name == "STOP":
                    return machine.pop()
                machine.step(opcode.name, argument)
    except BROKEN as error:
        problem = str(error)[:120] or type(error).__name__
        raise FormatError(
            f"{where} is a broken pickle: {problem}. {NOT_EXECUTED}", hint="Download the file again."
        ) from None
    raise FormatError(f"{where} is a pickle without an end. {NOT_EXECUTED}", hint="Download the file again.")


class _Bounded:
    """A stream of which nobody reads more than there is, whatever length a pickle claims."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.readline, self.tell = stream, stream.readline, stream.tell
        begin = stream.tell()
        self.size = stream.seek(0, io.SEEK_END)
        stream.seek(begin)

    def read(self, size: int) -> bytes:
        return self.stream.read(min(size, self.size))


class _Machine:
    """The stack, the stacks below its marks, and the memo."""

    def __init__(
        self, names: Mapping[str, Build], persistent: Callable[[object], object], where: str
    ) -> None:
        self.names, self.persistent, self.where = names, persistent, where
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.left = MAX_WORK

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise FormatError(
                f"{self.where} has more than {MAX_WORK:,} instructions. {NOT_EXECUTED}",
                hint="Export the model's state dict as safetensors.",
            )

    def pop(self) -> Any:  # noqa: ANN401
        return self.stack.pop()

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """One instruction; IndexError, TypeError and their kin mean that the pickle is broken."""
        if name in IGNORED:
            return
        if name in ARGUMENT:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.spend(SET_WORK if name == "EMPTY_SET" else 0)
            self.stack.append(EMPTY[name]())
        elif name in MARKED:
            items = self.pop_mark()
            self.stack.append(MARKED[name](items))
        elif name in SHORT_TUPLES:
            items = [self.pop() for _ in range(SHORT_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name in PUT:
            self.memo[argument] = self.stack[-1]
        elif name in GET:
            self.stack.append(self.memo[argument])
        else:
            self.rare(name, argument)

    def rare(self, name: str, argument: Any) -> None:  # noqa: ANN401
        handler = getattr(self, f"on_{name.lower()}", None)
        if handler is None:
            raise UnsupportedError(
                f"{self.where} uses the pickle instruction {name}, which weights do not need. {NOT_EXECUTED}"
            )
        handler(argument)

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def on_mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def on_pop(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def on_pop_mark(self, _: object) -> None:
        self.pop_mark()

    def on_dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def on_memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def on_append(self, _: object) -> None:
        item = self.pop()
        self.onto(list).append(item)

    def on_appends(self, _: object) -> None:
        items = self.pop_mark()
        self.onto(list).extend(items)

    def on_additems(self, _: object) -> None:
        items = self.pop_mark()
        self.onto(set).update(keys(items))

    def on_setitem(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self.onto(dict).update(pairs((key, value)))

    def on_setitems(self, _: object) -> None:
        items = self.pop_mark()
        self.onto(dict).update(pairs(items))

    def onto(self, kind: type) -> Any:  # noqa: ANN401
        """The container at the top, which must be a plain one."""
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"items for a {kind.__name__} where there is none")
        return self.stack[-1]

    def on_global(self, argument: str) -> None:
        self.stack.append(self.known(argument.replace(" ", ".", 1)))

    def on_stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name that is no text")
        self.stack.append(self.known(f"{module}.{name}"))

    def known(self, name: str) -> Build:
        if name not in self.names and name not in PLAIN:
            self.refuse(name)
        return self.names.get(name) or PLAIN[name]

    def on_inst(self, argument: str) -> None:
        self.refuse(argument.replace(" ", ".", 1))

    def refuse(self, name: str) -> NoReturn:
        raise UnsupportedError(
            f"{self.where} would call {name[:120]}, which makes neither a tensor nor a plain container. "
            f"{NOT_EXECUTED}",
            hint="If you trust it, save its state dict alone, with the program that wrote it.",
        )

    def on_reduce(self, _: object) -> None:
        arguments, build = self.pop(), self.pop()
        if not callable(build) or not isinstance(arguments, tuple):
            raise TypeError("a call of something that is no name")
        self.spend(sum(len(each) for each in arguments if isinstance(each, Sized)))
        self.stack.append(build(*arguments))

    on_newobj = on_reduce

    def on_build(self, _: object) -> None:
        """Attributes of an ordered dictionary, such as a state dict's versions, say nothing of weights."""
        state, target = self.pop(), self.onto(dict)
        if isinstance(target, Record):
            target.update(state)

    def on_binpersid(self, _: object) -> None:
        self.stack.append(self.persistent(self.pop()))

    def on_persid(self, argument: str) -> None:
        self.stack.append(self.persistent(argument))
