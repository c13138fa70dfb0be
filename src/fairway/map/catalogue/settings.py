"""What can be set about the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.settings import setting


@dataclass(frozen=True)
class CatalogueSettings:
    """Files beyond the package's own and those of the configuration folder."""

    files: tuple[str, ...] = setting(
        (), "TOML files of your own that add to the map's catalogue or correct it"
    )
