"""A model's structure for drawing: stages, in each the rows of its graph, and the tensors that belong there.

From the recorded steps where this engine has the family, else from the tensors' names. Reads headers only.
The rule: every tensor of the file stands in exactly one stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairway.errors import FairwayError
from fairway.formats.bundle import Bundle, TensorInfo
from fairway.models.names import stored_names
from fairway.proof.hop import Side
from fairway.proof.recorded import record_shapes
from fairway.proof.steps import Step, stages_of, steps_of

REST = "other tensors"
_LAYER = re.compile(r"^(.*?(?:layers?|h|blk|blocks?|stages?))\.(\d+)\.", re.IGNORECASE)


@dataclass(frozen=True)
class Node:
    """One step of the graph; `tensors` are the names of its own."""

    kind: str
    name: str
    tensors: tuple[str, ...]
    details: str


@dataclass
class Block:
    """Rows from top to bottom; nodes of a row read the same input. `adds` what came in at the end."""

    rows: list[list[Node]] = field(default_factory=list)
    adds: bool = False


@dataclass
class Stage:
    """One layer, or what comes before and after."""

    name: str
    blocks: list[Block] = field(default_factory=list)
    tensors: list[TensorInfo] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        return sum(info.num_bytes for info in self.tensors)

    @property
    def num_parameters(self) -> int:
        return sum(info.num_elements for info in self.tensors)

    @property
    def types(self) -> list[str]:
        """The type with most bytes first."""
        sums: dict[str, int] = {}
        for info in self.tensors:
            sums[info.type] = sums.get(info.type, 0) + info.num_bytes
        return sorted(sums, key=lambda kind: -sums[kind])


def structure_of(bundle: Bundle) -> list[Stage]:
    """In the order of the forward pass; by the order of the file for an unknown family."""
    side = Side(bundle)
    try:
        recorded = record_shapes(side, 1 if side.config is None else side.config.max_context)
    except FairwayError:
        return _by_name(bundle)
    steps = steps_of(recorded)
    names = stored_names(bundle.tensors.infos)
    places = {step.name: step.stage for step in steps}
    stages = {name: Stage(name) for name in stages_of(recorded)}
    for stage in stages.values():
        own = [step for step in steps if step.stage == stage.name]
        stage.blocks = list(_blocks(own, set(names)))
    rest = Stage(REST)
    for name, stored in names.items():
        home = stages.get(places.get(name.rpartition(".")[0], ""), rest)
        home.tensors.append(bundle.tensors.infos[stored])
    order = {name: index for index, name in enumerate(places)}
    spelled = {stored: name for name, stored in names.items()}
    for stage in stages.values():
        stage.tensors.sort(key=lambda info: order[spelled[info.name].rpartition(".")[0]])
    return [stage for stage in (*stages.values(), rest) if stage.tensors or stage.blocks]


def _blocks(steps: Sequence[Step], names: set[str]) -> Iterator[Block]:
    """A block ends where a step adds its result to the stream."""
    block = Block()
    for before, step in zip([None, *steps], steps, strict=False):
        if step.kind == "Add":
            block.adds = True
            yield block
            block = Block()
            continue
        node = _node(step, names)
        if block.rows and before is not None and _reads_the_same(before, step):
            block.rows[-1].append(node)
        else:
            block.rows.append([node])
        if step.residual is not None:
            block.adds = True
            yield block
            block = Block()
    if block.rows:
        yield block


def _reads_the_same(a: Step, b: Step) -> bool:
    return a.kind == b.kind == "Linear" and a.reads == b.reads and a.residual is None and b.residual is None


def _node(step: Step, names: set[str]) -> Node:
    own = tuple(name for name in (f"{step.name}.weight", f"{step.name}.bias") if name in names)
    short = re.sub(r"^layer \d+ ", "", step.name).rpartition(".")[2]
    parameters = ((name, _written(value)) for name, value in step.parameters.items())
    return Node(
        step.kind,
        short,
        own,
        ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in parameters if text),
    )


def _written(value: Any) -> str:  # noqa: ANN401 (numbers, texts and arrays alike)
    """As a reader wants it; nothing for what is usual."""
    if isinstance(value, np.ndarray):
        return f"{value[0]:.4g} to {value[-1]:.4g}"
    if value is None or value is False or value == 1.0:
        return ""
    return "yes" if value is True else f"{value:.6g}" if isinstance(value, float) else str(value)


def _by_name(bundle: Bundle) -> list[Stage]:
    """Numbered layers of the same prefix; everything else in front or behind, as it lies in the file."""
    stages: dict[str, Stage] = {}
    for name, info in bundle.tensors.infos.items():
        match = _LAYER.match(name)
        key = f"{match.group(1)} {match.group(2)}" if match else name.split(".")[0]
        stages.setdefault(key, Stage(key)).tensors.append(info)
    return list(stages.values())
