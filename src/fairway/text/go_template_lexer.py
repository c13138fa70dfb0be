"""Splits a Go text/template into literal text and actions, and each action into tokens.

Here belong the delimiters, the trim markers ({{- and -}}) and comments; what an action means is the
parser's. Specification: https://pkg.go.dev/text/template
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairway.errors import FormatError

SPACES = " \t\r\n"
WHITE = frozenset(SPACES)
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n][^'\n]*)')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))
    |(?P<variable>\$\w*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<mark>:=|[=|(),.])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}


@dataclass(frozen=True)
class Token:
    kind: str
    """"string", "char", "number", "variable", "field", "word", or the mark itself."""
    text: str
    spaced: bool
    """White space stands before it."""


@dataclass(frozen=True)
class Tag:
    """One {{ action }}."""

    tokens: tuple[Token, ...]
    line: int


def broken(line: int, why: str) -> FormatError:
    return FormatError(f"The Go template is broken (line {line}): {why}.")


def lex(source: str) -> list[str | Tag]:
    """Texts and tags in order, with white space trimmed where the tags ask for it."""
    parts: list[str | Tag] = []
    position, line, trims = 0, 1, False
    while (start := source.find("{{", position)) >= 0:
        line += source.count("\n", position, start)
        inside = start + 2
        trims_left = source[inside : inside + 1] == "-" and source[inside + 1 : inside + 2] in WHITE
        parts.append(_trimmed(source[position:start], trims, trims_left))
        inside += trims_left
        tag, position, trims = _comment(source, inside, line) or _tag(source, inside, line)
        line += source.count("\n", start, position)
        parts.append(tag)
    parts.append(_trimmed(source[position:], trims, False))
    return [part for part in parts if part]


def _trimmed(text: str, left: bool, right: bool) -> str:
    text = text.lstrip(SPACES) if left else text
    return text.rstrip(SPACES) if right else text


def _tag(source: str, position: int, line: int) -> tuple[Tag, int, bool]:
    """The tag whose inside begins at `position`, where it ends, and whether it trims what follows."""
    tokens: list[Token] = []
    while True:
        begin = _after_spaces(source, position)
        spaced = begin > position
        if source.startswith("}}", begin):
            return Tag(tuple(tokens), line), begin + 2, False
        if spaced and source.startswith("-}}", begin):
            return Tag(tuple(tokens), line), begin + 3, True
        match = _TOKEN.match(source, begin)
        if match is None:
            what = repr(source[begin]) if begin < len(source) else ""
            raise broken(line, f"{what} cannot stand in an action" if what else "an action has no end")
        tokens.append(_token(match, spaced, line))
        position = match.end()


def _comment(source: str, position: int, line: int) -> tuple[str, int, bool] | None:
    """An action that is a comment is nothing at all."""
    begin = _after_spaces(source, position)
    if not source.startswith("/*", begin):
        return None
    end = source.find("*/", begin + 2) + 2
    close = _after_spaces(source, end)
    if end < 2:
        raise broken(line, "a comment has no end")
    if source.startswith("}}", close):
        return "", close + 2, False
    if close > end and source.startswith("-}}", close):
        return "", close + 3, True
    raise broken(line, "something follows a comment")


def _after_spaces(source: str, position: int) -> int:
    while source[position : position + 1] in WHITE:
        position += 1
    return position


def _token(match: re.Match[str], spaced: bool, line: int) -> Token:
    kind, text = str(match.lastgroup), match.group()
    if kind == "string":
        return Token("string", unquoted(text[1:-1], line), spaced)
    if kind == "raw":
        return Token("string", text[1:-1].replace("\r", ""), spaced)
    if kind == "char":
        return Token("char", unquoted(text[1:-1], line), spaced)
    return Token(text if kind == "mark" else kind, text, spaced)


def unquoted(text: str, line: int) -> str:
    """The inside of a Go string literal; \\x and octal escapes are bytes of UTF-8."""
    if "\\" not in text:
        return text
    raw, position = bytearray(), 0
    for match in _ESCAPE.finditer(text):
        raw += text[position : match.start()].encode("utf-8", "surrogatepass")
        raw += _escaped(match.group(1), line)
        position = match.end()
    raw += text[position:].encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def _escaped(code: str, line: int) -> bytes:
    if code in _SIMPLE:
        return bytes([_SIMPLE[code]])
    if code[0] == "x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if len(code) == 3 and int(code, 8) < 256:
        return bytes([int(code, 8)])
    if code[0] in "uU" and len(code) > 1 and int(code[1:], 16) < 0x110000:
        return chr(int(code[1:], 16)).encode("utf-8", "replace")
    raise broken(line, f"the escape \\{code[:9]} is unknown")
