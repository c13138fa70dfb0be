"""Ollama's Modelfile: read into instructions and written back, nothing lost but comments.

    FROM ./model.gguf                     INSTRUCTION value, the name in any case
    PARAMETER stop "<|end|>"              a value in quotes may span lines, \"\"\" around what has quotes
    TEMPLATE \"\"\"{{ .Prompt }}\"\"\"        MESSAGE role value, PARAMETER name value

Knows the syntax only; open_modelfile.py gives it meaning. The rule: what is written here reads back the
same. Specification: https://docs.ollama.com/modelfile
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from fairway.errors import FormatError
from fairway.formats.source import Source

FILE_NAME = "Modelfile"
SUFFIX = ".modelfile"
MAX_BYTES = 8 << 20
"""Licences are long."""
MAX_INSTRUCTIONS = 10_000
NAMES = frozenset(
    {"from", "parameter", "template", "system", "adapter", "license", "message", "requires"}
    | {"renderer", "parser", "draft"}
)
"""The last three are Ollama's own programs for some models; they are kept and not run."""
KEYED = {"parameter": re.compile(r"[A-Za-z0-9_]+"), "message": re.compile(r"system|user|assistant")}
"""Instructions with a word before the value."""
ROLES = ("system", "user", "assistant")
_BEGINNING = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*from[ \t]", re.IGNORECASE)
_BLANK = re.compile(r"[ \t\r\n]*")
_SPACES = re.compile(r"[ \t]*")
_NAME = re.compile(r"[A-Za-z]+")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name in lower case, and for PARAMETER and MESSAGE the word before the value."""

    name: str
    value: str
    key: str = ""


@dataclass(frozen=True)
class Modelfile:
    """The instructions in order, with the few questions that are asked of them."""

    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[str]:
        return [each.value for each in self.instructions if each.name == name]

    def last(self, name: str) -> str | None:
        """Of instructions that may stand once, Ollama takes the last."""
        return next(reversed(self.all(name)), None)

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Name in lower case -> every value given to it, in order."""
        found: dict[str, list[str]] = {}
        for each in self.instructions:
            if each.name == "parameter":
                found.setdefault(each.key.lower(), []).append(each.value)
        return found

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """(role, content)"""
        return tuple((each.key, each.value) for each in self.instructions if each.name == "message")


def looks_like_modelfile(path: Path, head: bytes) -> bool:
    """By its name; a text without a suffix by its first instruction."""
    if path.name == FILE_NAME or path.name.startswith(f"{FILE_NAME}.") or path.suffix.lower() == SUFFIX:
        return True
    return not path.suffix and _BEGINNING.match(head) is not None


def read_modelfile(path: Path) -> Modelfile:
    """Raises `FormatError` with the line of what is wrong."""
    source = Source(path)
    if source.size > MAX_BYTES:
        raise FormatError(f"{path} has {source.size} bytes; a Modelfile has at most {MAX_BYTES}.")
    raw = source.read(0, source.size)
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), "utf-8")
    try:
        return parse_modelfile(raw.decode(encoding), str(path))
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not text at byte {error.start}.") from error


def parse_modelfile(text: str, where: str = "The Modelfile") -> Modelfile:
    """`where` is what errors call the text."""
    instructions: list[Instruction] = []
    cursor = _Cursor(text, where)
    while cursor.skip_blank_and_comments():
        instructions.append(cursor.instruction())
        if len(instructions) > MAX_INSTRUCTIONS:
            raise cursor.broken(f"it has more than {MAX_INSTRUCTIONS} instructions")
    modelfile = Modelfile(tuple(instructions))
    if modelfile.last("from") is None:
        raise FormatError(f"{where} has no FROM.", hint="Its first line names the model: FROM ./model.gguf.")
    return modelfile


class _Cursor:
    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.position = 0

    def skip_blank_and_comments(self) -> bool:
        """To the next instruction; false at the end."""
        while True:
            self._take(_BLANK)
            if not self.text.startswith("#", self.position):
                return self.position < len(self.text)
            self.position = self._line_end()

    def instruction(self) -> Instruction:
        name = self._take(_NAME).lower()
        if name not in NAMES:
            shown = self.text[self.position - len(name) : self._line_end()][:40]
            raise self.broken(f"{shown!r} is no instruction")
        self._require_space(name)
        if name not in KEYED:
            return Instruction(name, self._value())
        key = self._take(KEYED[name])
        if not key:
            what = "a parameter's name" if name == "parameter" else f"a role ({', '.join(ROLES)})"
            raise self.broken(f"{name.upper()} is not followed by {what}")
        self._require_space(f"{name} {key}")
        return Instruction(name, self._value(), key)

    def _require_space(self, what: str) -> None:
        if self.text[self.position : self.position + 1] not in (" ", "\t"):
            raise self.broken(f"{what.upper()[:60]} has no value")
        self._take(_SPACES)

    def _value(self) -> str:
        """Up to the end of the line, or of the line on which its quotes close."""
        start, stop = self.position, self.position
        quote = next((mark for mark in ('"""', '"') if self.text.startswith(mark, start)), "")
        while True:
            self.position = stop
            stop = self._line_end()
            line = self.text[self.position : stop].rstrip()
            length = self.position + len(line) - start
            if not quote or (line.endswith(quote) and length >= 2 * len(quote)):
                value = self.text[start : start + length]
                self.position = stop
                return value[len(quote) : len(value) - len(quote)]
            if stop >= len(self.text):
                self.position = start
                raise self.broken("a quoted value has no end")
            stop += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        found = match.group() if match else ""
        self.position += len(found)
        return found

    def _line_end(self) -> int:
        """Both line ends count, as they do in Ollama."""
        ends = [end for mark in "\r\n" if (end := self.text.find(mark, self.position)) >= 0]
        return min(ends, default=len(self.text))

    def broken(self, why: str) -> FormatError:
        line = self.text.count("\n", 0, self.position) + 1
        return FormatError(
            f"{self.where} is no Modelfile (line {line}): {why}.", hint="https://docs.ollama.com/modelfile"
        )


def modelfile_text(modelfile: Modelfile) -> str:
    """As it is written to disk. Raises `FormatError` for a value that the syntax cannot hold."""
    return "".join(f"{_head(each)} {_quoted(each)}\n" for each in modelfile.instructions)


def _head(instruction: Instruction) -> str:
    return " ".join(part for part in (instruction.name.upper(), instruction.key) if part)


def _quoted(instruction: Instruction) -> str:
    """The plainest form that reads back as the same value."""
    value = instruction.value
    for mark in ("", '"', '"""'):
        written = f"{mark}{value}{mark}"
        if _reads_back(written, value):
            return written
    raise FormatError(
        f"A Modelfile cannot hold this {_head(instruction)}: a line of it ends in three quotation marks."
    )


def _reads_back(written: str, value: str) -> bool:
    cursor = _Cursor(f"{written}\n", "")
    try:
        return (
            not written.startswith((" ", "\t"))
            and cursor._value() == value
            and cursor.position == len(cursor.text) - 1
        )
    except FormatError:
        return False
