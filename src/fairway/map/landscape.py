"""The landscape as this machine sees it: which tools run here now, and what the others lack.

`places` is a pure function from the catalogue and a machine's findings; `look_around` is what finds
them, from the PATH and the names of installed modules, without starting or importing anything.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from fairway.map.catalogue import Catalogue
from fairway.map.catalogue.schema import Conversion, Format, Tool

State: TypeAlias = Literal["ready", "possible", "hardware", "account", "cluster", "unknown"]
# What people read; the order is that of the legend.
STATES: dict[State, str] = {
    "ready": "runs here now",
    "possible": "would run here",
    "hardware": "needs other hardware",
    "account": "needs an account",
    "cluster": "needs a cluster",
    "unknown": "not looked for",
}
STANDINGS = {
    "native": "own code",
    "drives": "driven",
    "files": "its files",
    "speaks": "its protocol",
    "knows": "known",
}
SILICON = {
    "cpu": "a processor",
    "nvidia": "an NVIDIA GPU",
    "amd": "an AMD GPU",
    "intel": "an Intel GPU or NPU",
    "apple": "Apple silicon",
    "tpu": "a TPU",
}
# Programs that the vendors' drivers bring.
DRIVERS = {"nvidia": ("nvidia-smi",), "amd": ("rocm-smi", "amd-smi"), "intel": ("xpu-smi",)}
EXTRAS = {"tune": "torch"}
"""Optional parts of Fairway, and the module that shows each."""
CLUSTER = frozenset({"kubernetes", "cluster"})


@dataclass(frozen=True)
class Findings:
    """What a look around this machine found."""

    silicon: frozenset[str]
    modules: frozenset[str]
    programs: frozenset[str]
    extras: frozenset[str] = frozenset()
    """Optional parts of Fairway that are installed."""


@dataclass(frozen=True)
class Place:
    """One tool on the map of one machine."""

    tool: Tool
    state: State
    lacks: str = ""
    """What is missing, in words."""

    @property
    def is_here(self) -> bool:
        """Whether Fairway has it today in some way."""
        return self.tool.fairway != "knows"


@dataclass(frozen=True)
class Landscape:
    """What one view of the map shows."""

    catalogue: Catalogue
    places: tuple[Place, ...]
    formats: tuple[Format, ...]
    lanes: tuple[Conversion, ...]

    def of_stage(self, stage: str) -> list[Place]:
        return [place for place in self.places if place.tool.stage == stage]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "tools": [_place_dict(place) for place in self.places],
            "formats": [
                {"id": each.id, "name": each.name, "kind": each.kind, "fairway": each.fairway}
                for each in self.formats
            ],
            "conversions": [
                {"reads": lane.reads, "writes": lane.writes, "by": lane.by, "how": lane.how}
                for lane in self.lanes
            ],
        }


def _place_dict(place: Place) -> dict[str, Any]:
    tool = place.tool
    return {
        "id": tool.id,
        "name": tool.name,
        "kind": tool.kind,
        "stage": tool.stage,
        "roles": list(tool.roles),
        "what": tool.what,
        "reads": list(tool.reads),
        "writes": list(tool.writes),
        "fairway": tool.fairway,
        "says": tool.says,
        "state": place.state,
        "lacks": place.lacks,
        "status": tool.status,
        "sources": list(tool.sources),
    }


def look_around(catalogue: Catalogue) -> Findings:
    """Silicon by its drivers' programs, tools by their programs and modules."""
    tools = catalogue.tools.values()
    names = {name for tool in tools for name in tool.programs} | {
        n for each in DRIVERS.values() for n in each
    }
    programs = frozenset(name for name in names if shutil.which(name))
    modules = frozenset(name for name in {m for tool in tools for m in tool.modules} if _is_installed(name))
    silicon = {"cpu"} | {kind for kind, drivers in DRIVERS.items() if programs.intersection(drivers)}
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        silicon.add("apple")
    extras = frozenset(name for name, module in EXTRAS.items() if _is_installed(module))
    return Findings(frozenset(silicon), modules, programs, extras)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def places(catalogue: Catalogue, findings: Findings | None) -> tuple[Place, ...]:
    """Every tool in the order of the stages; without findings nothing is said about the machine."""
    order = {stage.id: stage.order for stage in catalogue.stages.values()}
    tools = sorted(catalogue.tools.values(), key=lambda tool: order[tool.stage])
    return tuple(_place(tool, findings) for tool in tools)


def _place(tool: Tool, findings: Findings | None) -> Place:
    if "account" in tool.needs:
        return Place(tool, "account", "an account")
    if wanted := CLUSTER.intersection(tool.needs):
        return Place(tool, "cluster", "Kubernetes" if "kubernetes" in wanted else "several machines")
    if findings is None:
        return Place(tool, "unknown")
    if not findings.silicon.intersection(tool.runs_on):
        return Place(tool, "hardware", " or ".join(SILICON[each] for each in tool.runs_on))
    if tool.fairway == "native" and tool.extra and tool.extra not in findings.extras:
        return Place(tool, "possible", f'pip install "fairway[{tool.extra}]"')
    if tool.fairway == "native" or _is_found(tool, findings):
        return Place(tool, "ready")
    return Place(tool, "possible", "" if tool.kind == "method" else "not installed")


def _is_found(tool: Tool, findings: Findings) -> bool:
    return bool(findings.modules.intersection(tool.modules) or findings.programs.intersection(tool.programs))


@dataclass(frozen=True)
class View:
    """What is asked to be seen; ids, None for all."""

    role: str | None = None
    stage: str | None = None
    format: str | None = None
    ignored: bool = False
    """What is not the role's, instead of what is."""


def landscape(catalogue: Catalogue, findings: Findings | None, view: View) -> Landscape:
    """The part of the map that a view shows."""
    shown = tuple(place for place in places(catalogue, findings) if _is_shown(place.tool, view))
    lanes = tuple(lane for lane in catalogue.conversions.values() if _touches(lane, view.format))
    return Landscape(catalogue, shown, _formats(catalogue, shown, lanes, view), lanes)


def _is_shown(tool: Tool, view: View) -> bool:
    if view.role is not None and (view.role in tool.roles) == view.ignored:
        return False
    if view.stage is not None and tool.stage != view.stage:
        return False
    return view.format is None or view.format in (*tool.reads, *tool.writes)


def _touches(lane: Conversion, wanted: str | None) -> bool:
    return wanted is None or wanted in (lane.reads, lane.writes)


def _formats(
    catalogue: Catalogue, shown: Sequence[Place], lanes: Iterable[Conversion], view: View
) -> tuple[Format, ...]:
    names: set[str] = {name for place in shown for name in (*place.tool.reads, *place.tool.writes)}
    if view.format is not None:
        names = {name for lane in lanes for name in (lane.reads, lane.writes)} | {view.format}
    return tuple(each for each in catalogue.formats.values() if each.id in names)
