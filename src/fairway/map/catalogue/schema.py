"""What the catalogue knows, one frozen dataclass per kind of entry.

A field's annotation is its schema: `read.py` checks every value of the TOML files against it. The
rule: an entry says where it comes from (`sources`), and what is not known is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

Ids: TypeAlias = tuple[str, ...]
Silicon: TypeAlias = Literal["cpu", "nvidia", "amd", "intel", "apple", "tpu"]
"""What a tool can run on. "intel" is its GPUs and NPUs: its processors are "cpu"."""
Need: TypeAlias = Literal["account", "kubernetes", "docker", "cluster", "browser"]
"""What must be there besides silicon."""
Standing: TypeAlias = Literal["native", "drives", "files", "speaks", "knows"]
"""How Fairway has it today: own code, the real tool driven, its files read or
written, its protocol spoken, or knowledge only."""


@dataclass(frozen=True)
class Refers:
    """Marks a field that names entries of these kinds; an unknown one is an error."""

    kinds: Ids

    def __init__(self, *kinds: str) -> None:
        object.__setattr__(self, "kinds", kinds)


Roles: TypeAlias = Annotated[Ids, Refers("roles")]
Stages: TypeAlias = Annotated[Ids, Refers("stages")]
Sources: TypeAlias = Annotated[Ids, Refers("sources")]
Formats: TypeAlias = Annotated[Ids, Refers("formats")]
Tools: TypeAlias = Annotated[Ids, Refers("tools")]
Terms: TypeAlias = Annotated[Ids, Refers("terms")]
Devices: TypeAlias = Annotated[Ids, Refers("hardware")]
Uses: TypeAlias = Annotated[Ids, Refers("tools", "formats")]
Date: TypeAlias = Annotated[str, "date"]
"""YYYY, YYYY-MM or YYYY-MM-DD."""
Paths: TypeAlias = Annotated[Ids, "paths"]
"""Files of this project below src/fairway; a test checks that they exist."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a statement was read: an article of the field, or a page of whoever makes the thing."""

    id: str
    name: str
    kind: Literal["article", "vendor", "project", "paper", "measured", "press"]
    date: Date = ""
    """Empty where the page prints none."""
    url: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A column of the map; `order` counts from the left."""

    id: str
    name: str
    order: int
    what: str
    roles: Roles
    sources: Sources
    commands: Ids = ()
    paths: Paths = ()


@dataclass(frozen=True, kw_only=True)
class Role:
    """Who owns which stages, and what they may leave to others."""

    id: str
    name: str
    does: str
    owns: Stages
    uses: Stages
    """Stages whose results they work with, without running them."""
    leaves: str
    sources: Sources
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """What travels between tools."""

    id: str
    name: str
    kind: Literal["weights", "graph", "engine", "adapter", "recipe", "package"]
    what: str
    sources: Sources
    files: Ids = ()
    """How its files are named."""
    runs_code: bool = False
    """Whether merely loading one may execute what its author wrote."""
    containers: Ids = ()
    """What `fairway inspect` calls it."""
    fairway: Literal["reads and writes", "reads", "writes", "knows"] = "knows"
    rows: tuple[int, ...] = ()
    paths: Paths = ()


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program, library, service or method of the field."""

    id: str
    name: str
    kind: Literal["library", "method", "engine", "compiler", "server", "platform", "service", "tool", "layer"]
    stage: Annotated[str, Refers("stages")]
    roles: Roles
    what: str
    fairway: Standing
    sources: Sources
    reads: Formats = ()
    writes: Formats = ()
    runs_on: tuple[Silicon, ...] = ("cpu",)
    """Any one of these is enough."""
    needs: tuple[Need, ...] = ()
    """All of these."""
    modules: Ids = ()
    """Python modules that show it is installed."""
    programs: Ids = ()
    """Programs on the PATH that show it is installed."""
    aliases: Ids = ()
    status: Literal["active", "maintenance", "experimental", "declining"] = "active"
    says: str = ""
    """How Fairway has it, in a sentence."""
    commands: Ids = ()
    extra: str = ""
    """The optional part of Fairway without which its own way does not run: pip install "fairway[EXTRA]"."""
    rows: tuple[int, ...] = ()
    paths: Paths = ()


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A lane from one format to another."""

    id: str
    reads: Annotated[str, Refers("formats")]
    writes: Annotated[str, Refers("formats")]
    by: str
    """"fairway", or the tool that does it."""
    keeps: Literal["everything", "numbers of the chosen type", "rounded"]
    how: str
    """The command."""
    sources: Sources
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One device, or one class of processor. Rates are peaks of dense arithmetic as its maker states them."""

    id: str
    name: str
    vendor: Literal["nvidia", "amd", "intel", "apple", "arm", "google", "x86"]
    kind: Literal["cpu", "gpu", "npu", "soc", "accelerator"]
    sources: Sources
    memory_gb: float | None = None
    """Of its own; for a "soc" the most it is sold with; None where it uses the machine's."""
    bandwidth_gb_s: float | None = None
    fp16_tflops: float | None = None
    """Half precision or bfloat16, dense, with the matrix units."""
    fp8_tflops: float | None = None
    int8_tops: float | None = None
    watts: float | None = None
    macs_per_instruction: int | None = None
    """int8 multiply-adds that one instruction of one core does."""
    feature: str = ""
    """What the processor must report, as Linux spells it."""
    aliases: Ids = ()
    note: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """A way to store weights."""

    id: str
    name: str
    kind: Literal["float", "block", "k-quant", "i-quant", "ternary", "mix", "group", "activations", "adapter"]
    bits_per_weight: float
    what: str
    formats: Formats
    readers: Tools
    sources: Sources
    block: int | None = None
    """Weights that share a scale."""
    is_exact: bool = True
    """False where bits_per_weight was measured on one model, because a mix depends on its shapes."""
    article_gb: float | None = None
    """What article 4 says that an 8 B model takes."""
    article_quality: str = ""
    article_speed: str = ""
    fairway: Literal["runs and writes", "runs", "knows"] = "knows"
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Price:
    """What somebody asks for, in US dollars or as a share."""

    id: str
    provider: Annotated[str, Refers("tools")]
    what: str
    kind: Literal["gpu", "tokens", "subscription", "saving"]
    unit: Literal["hour", "second", "million tokens", "month", "user and month", "share"]
    low: float
    date: Date
    sources: Sources
    high: float | None = None
    """Of a range; None where there is one figure."""
    hardware: Devices = ()
    is_about: bool = False
    """The source itself says "about" or "from"."""
    billing: str = ""
    fits: str = ""
    note: str = ""
    rows: tuple[int, ...] = ()

    @property
    def usd_per_hour(self) -> float | None:
        """Of a rented device; None for everything else."""
        return {"hour": self.low, "second": self.low * 3600}.get(self.unit)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A word of the field in a few plain sentences."""

    id: str
    name: str
    text: str
    sources: Sources
    aliases: Ids = ()
    see: Terms = ()
    fairway: str = ""
    """What Fairway does about it, in a sentence."""
    paths: Paths = ()


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """One row of one table of the articles, and whether it still holds."""

    id: str
    table: str
    article: Annotated[str, Refers("sources")]
    when: str
    says: str
    """The rest of the row, in our words."""
    use: Uses = ()
    """In the order of the row."""
    holds: Literal["yes", "differs", "depends"] = "yes"
    now: Uses = ()
    """What to use instead, where it differs."""
    because: str = ""
    """Required unless it holds: why, with what was read or measured."""
    date: Date = ""
    low: float | None = None
    high: float | None = None
    """The figures of a row that states a factor or a share."""
    stage: str = ""
    hardware: Devices = ()
    goal: Literal["", "latency", "throughput", "cheapest", "smallest", "train", "local", "api"] = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Support:
    """Whether a runtime takes a format: what article 3 says, and what is so now."""

    id: str
    tool: Annotated[str, Refers("tools")]
    format: Annotated[str, Refers("formats")]
    article: Literal["yes", "no", "limited", "after conversion", "some models"]
    now: Literal["yes", "no", "limited", "after conversion", "some models"]
    date: Date = ""
    sources: Sources
    because: str = ""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one source says about a question."""

    source: Annotated[str, Refers("sources")]
    says: str
    date: Date = ""


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A question that the sources answer differently, or that time has answered since."""

    id: str
    question: str
    about: Annotated[Ids, Refers("tools", "formats", "terms", "quantisations", "prices", "roles")]
    statements: tuple[Statement, ...]
    now: str
    """Which holds, and why."""
    date: Date


KINDS: dict[str, type[Any]] = {
    "sources": Source,
    "stages": Stage,
    "roles": Role,
    "formats": Format,
    "tools": Tool,
    "conversions": Conversion,
    "hardware": Hardware,
    "quantisations": Quantisation,
    "prices": Price,
    "terms": Term,
    "recommendations": Recommendation,
    "support": Support,
    "disagreements": Disagreement,
}
