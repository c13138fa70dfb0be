"""XML from strangers: elements and attributes only, bounded, without anything that could be expanded.

The rule: a document type, an entity or a processing instruction beyond the first line ends the reading, so
nothing in a file can grow, name another file or reach the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from fairway.errors import FormatError
from fairway.formats.source import Source

MAX_BYTES = 256 << 20
MAX_ELEMENTS = 1_000_000
MAX_DEPTH = 60
MAX_CHUNK = 1 << 20
MAX_TEXT = 64
HINT = "Download the file again, or export it again from the model's source."


@dataclass(slots=True)
class Element:
    """`text` is the beginning of what stands between the tags: the formats read here keep numbers in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> Iterator[Element]:
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        return next(self.all(tag), None)


def read_xml(source: Source, max_elements: int = MAX_ELEMENTS) -> Element:
    """The root element. Raises `FormatError` for what is broken, forbidden or too large."""
    if source.size > MAX_BYTES:
        raise FormatError(f"{source.path} has {source.size} bytes, at most {MAX_BYTES} are read.", hint=HINT)
    building = _Building(source, max_elements)
    parser = expat.ParserCreate()
    parser.StartElementHandler = building.start
    parser.EndElementHandler = building.end
    parser.CharacterDataHandler = building.text
    parser.StartDoctypeDeclHandler = building.refuse
    parser.EntityDeclHandler = building.refuse
    parser.ProcessingInstructionHandler = building.refuse
    try:
        for begin in range(0, source.size, MAX_CHUNK):
            parser.Parse(source.data[begin : begin + MAX_CHUNK], False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:
        raise FormatError(f"{source.path} is not valid XML: {str(error)[:120]}.", hint=HINT) from None
    except (LookupError, UnicodeError):
        raise FormatError(f"{source.path} is in an encoding that is not known.", hint=HINT) from None
    assert building.root is not None
    return building.root


class _Building:
    """The tree while it grows."""

    def __init__(self, source: Source, max_elements: int) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._source = source
        self._left = max_elements

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._left -= 1
        if self._left < 0 or len(self._open) >= MAX_DEPTH:
            problem = "has more elements than any model needs" if self._left < 0 else "is nested too deeply"
            raise FormatError(f"{self._source.path} {problem}.", hint=HINT)
        element = Element(tag, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        if self._open and len(self._open[-1].text) < MAX_TEXT:
            self._open[-1].text += text.strip()[:MAX_TEXT]

    def refuse(self, *_: object) -> NoReturn:
        raise FormatError(
            f"{self._source.path} has a document type, an entity or an instruction, which no model needs: "
            "it was not read further."
        )
