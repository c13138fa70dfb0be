"""The catalogue as one object: read from files, merged key by key, every reference checked."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from fairway.errors import SettingsError, UsageError
from fairway.map.catalogue import schema
from fairway.map.catalogue.lines import lines_of
from fairway.map.catalogue.read import Place, did_you_mean, entry, field_types
from fairway.map.catalogue.schema import KINDS
from fairway.settings import config_path, parse_table, read_text

FOLDER = Path(__file__).parent
T = TypeVar("T")


@dataclass(frozen=True)
class Catalogue:
    """Every kind by id, in the order of the files."""

    sources: Mapping[str, schema.Source]
    stages: Mapping[str, schema.Stage]
    roles: Mapping[str, schema.Role]
    formats: Mapping[str, schema.Format]
    tools: Mapping[str, schema.Tool]
    conversions: Mapping[str, schema.Conversion]
    hardware: Mapping[str, schema.Hardware]
    quantisations: Mapping[str, schema.Quantisation]
    prices: Mapping[str, schema.Price]
    terms: Mapping[str, schema.Term]
    recommendations: Mapping[str, schema.Recommendation]
    support: Mapping[str, schema.Support]
    disagreements: Mapping[str, schema.Disagreement]

    def device(self, name: str) -> schema.Hardware:
        """By id, name or alias; case and punctuation do not count. Raises `UsageError`."""
        return find(self.hardware, name, "device")

    def tool(self, name: str) -> schema.Tool:
        return find(self.tools, name, "tool")

    def format(self, name: str) -> schema.Format:
        return find(self.formats, name, "format")

    def quantisation(self, name: str) -> schema.Quantisation:
        return find(self.quantisations, name, "quantisation")

    def prices_of(self, device: str) -> list[schema.Price]:
        """What renting this device costs, the cheapest hour first."""
        found = [price for price in self.prices.values() if device in price.hardware]
        return sorted(found, key=lambda price: price.usd_per_hour or 0.0)

    def cited(self, ids: Iterable[str]) -> str:
        """Sources for people: articles by number, pages by name, each with its date."""
        return "; ".join(self._cited(self.sources[each]) for each in ids)

    @staticmethod
    def _cited(source: schema.Source) -> str:
        name = source.id.replace("-", " ") if source.kind == "article" else source.name
        return f"{name} ({source.date})" if source.date else name


def load_catalogue(
    files: Iterable[Path | str] = (), environment: Mapping[str, str] | None = None
) -> Catalogue:
    """The package's own files, those of the user's folder, then `files`. Raises `SettingsError`."""
    folder = config_path(os.environ if environment is None else environment).parent / "catalogue"
    own = sorted(folder.glob("*.toml")) if folder.is_dir() else []
    return _load((*own, *(Path(each).expanduser() for each in files)))


@functools.lru_cache(maxsize=4)
def _load(files: tuple[Path, ...]) -> Catalogue:
    tables = _Tables()
    for path in (*sorted(FOLDER.glob("*.toml")), *files):
        tables.add(path)
    catalogue = Catalogue(**{kind: dict(tables.entries(kind)) for kind in KINDS})
    for kind in KINDS:
        for entry_id, value in getattr(catalogue, kind).items():
            _check_references(catalogue, value, tables.place(kind, entry_id))
    return catalogue


class _Tables:
    """Tables of all files, later keys over earlier ones, and where each key was said last."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self._places: dict[tuple[str, str], dict[str, str]] = {}

    def add(self, path: Path) -> None:
        name = path.name if path.parent == FOLDER else str(path)
        text = read_text(path)
        tables = parse_table(text, name)
        lines = {} if path.parent == FOLDER else lines_of(text)
        for kind, entries in tables.items():
            here = _where(name, lines.get((kind, ""), lines.get(("", kind), {})))
            if kind not in KINDS:
                raise SettingsError(f"{here}: unknown table [{kind}].", hint=did_you_mean(kind, KINDS))
            if not isinstance(entries, dict):
                raise SettingsError(
                    f"{here}: {kind} must hold tables, as in [{kind}.NAME].", hint=f"Write [{kind}.NAME]."
                )
            for entry_id, table in entries.items():
                found = lines.get((kind, entry_id), {})
                here = _where(name, found)
                if not isinstance(table, dict):
                    raise SettingsError(
                        f"{here}: [{kind}] {entry_id} must be a table: [{kind}.{entry_id}].",
                        hint=f"Write [{kind}.{entry_id}] and its keys below.",
                    )
                self._tables[kind].setdefault(entry_id, {}).update(table)
                keys = {key: _where(name, found, key) for key in table}
                self._places.setdefault((kind, entry_id), {}).update({"": here} | keys)

    def entries(self, kind: str) -> Iterator[tuple[str, Any]]:
        for entry_id, table in self._tables[kind].items():
            yield entry_id, entry(KINDS[kind], entry_id, table, self.place(kind, entry_id))

    def place(self, kind: str, entry_id: str) -> Place:
        keys = self._places[kind, entry_id]
        return Place(f"[{kind}.{entry_id}]", keys[""], keys)


def _where(name: str, lines: Mapping[str, int], key: str = "") -> str:
    """ "mine.toml, line 3", as far as lines are known."""
    line = lines.get(key, lines.get(""))
    return name if line is None else f"{name}, line {line}"


def _check_references(catalogue: Catalogue, value: Any, place: Place) -> None:  # noqa: ANN401
    kind: Any = type(value)
    for key, hint in field_types(kind).items():
        given = getattr(value, key)
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        if marks and isinstance(marks[0], schema.Refers):
            known = {entry_id for kind in marks[0].kinds for entry_id in getattr(catalogue, kind)}
            for name in (given,) if isinstance(given, str) else given:
                _check_known(name, known, f"{place.of(key)} {key}", marks[0].kinds)
        elif isinstance(given, tuple):
            for at, member in enumerate(each for each in given if dataclasses.is_dataclass(each)):
                _check_references(catalogue, member, place.within(f"{key}[{at}]"))


def _check_known(name: str, known: set[str], place: str, kinds: Iterable[str]) -> None:
    if name not in known:
        nearest = did_you_mean(name, known)
        tables = " or ".join(f"[{kind}.{name}]" for kind in kinds)
        hint = nearest if nearest.startswith("Did") else f"Add {tables}, or name one that is there."
        raise SettingsError(f"{place} names {name}, which is not in the catalogue.", hint=hint)


def plain(name: str) -> str:
    """A name without case and punctuation: "RTX 4090" and "rtx-4090" are the same."""
    return re.sub(r"[^0-9a-z+]", "", name.lower())


def find(entries: Mapping[str, T], name: str, what: str) -> T:
    """An entry by id, name or alias. Raises `UsageError` with the nearest."""
    by_name = named(entries)
    if (wanted := plain(name)) in by_name:
        return by_name[wanted]
    nearest = did_you_mean(wanted, by_name)
    if not nearest.startswith("Did"):
        nearest = f"There are: {', '.join(str(getattr(each, 'name', '')) for each in entries.values())}."
    raise UsageError(f"There is no {what} named {name} in the catalogue.", hint=nearest)


def named(entries: Mapping[str, T]) -> dict[str, T]:
    """Entries by every plain name that they go by; an id wins over another entry's alias."""
    found: dict[str, T] = {}
    for each in entries.values():
        for name in (*getattr(each, "aliases", ()), str(getattr(each, "name", ""))):
            found.setdefault(plain(name), each)
    return found | {plain(entry_id): each for entry_id, each in entries.items()}
