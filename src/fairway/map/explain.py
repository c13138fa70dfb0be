"""One word of the field: found by any of its names, or the nearest suggested."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from fairway.errors import UsageError
from fairway.map.catalogue import Catalogue
from fairway.map.catalogue.catalogue import named, plain
from fairway.map.catalogue.schema import Disagreement, Term

NEAREST = 3
CLOSE_ENOUGH = 0.55


@dataclass(frozen=True)
class Explanation:
    """A term with what hangs on it."""

    term: Term
    see: tuple[Term, ...]
    sources: tuple[str, ...]
    """Names with dates."""
    disagreements: tuple[Disagreement, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "term": self.term.id,
            "name": self.term.name,
            "text": self.term.text,
            "fairway": self.term.fairway,
            "paths": [f"src/fairway/{path}" for path in self.term.paths],
            "aliases": list(self.term.aliases),
            "see": [term.name for term in self.see],
            "sources": list(self.sources),
            "disagreements": [{"question": each.question, "now": each.now} for each in self.disagreements],
        }


def explain(catalogue: Catalogue, name: str) -> Explanation:
    """Case and punctuation do not count. Raises `UsageError` with the nearest terms."""
    by_name = named(catalogue.terms)
    wanted = plain(name)
    term = by_name.get(wanted) or by_name.get(wanted.removesuffix("s"))
    if term is None:
        raise UsageError(f"There is no term {name} in the glossary.", hint=_hint(wanted, by_name))
    return Explanation(
        term=term,
        see=tuple(catalogue.terms[each] for each in term.see),
        sources=tuple(catalogue.cited((each,)) for each in term.sources),
        disagreements=tuple(each for each in catalogue.disagreements.values() if term.id in each.about),
    )


def _hint(wanted: str, by_name: dict[str, Term]) -> str:
    near = difflib.get_close_matches(wanted, by_name, n=NEAREST * 2, cutoff=CLOSE_ENOUGH)
    near += [name for name in sorted(by_name) if len(wanted) > 2 and wanted in name]
    names = list(dict.fromkeys(by_name[each].name for each in near))[:NEAREST]
    if not names:
        return "fairway explain lists all terms."
    return f"Did you mean {' or '.join(names)}?"
