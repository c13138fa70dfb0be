"""What kind of hop leads from one bundle to another, told from the stored types alone.

Also which tensors both sides share, by the name that the family gives them. Reads no weight. The rule:
what a config calls for decides which tensors count; a buffer that nobody reads is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fairway.errors import FairwayError
from fairway.formats.bundle import Bundle, TensorInfo
from fairway.models.config import DecoderConfig
from fairway.models.families import read_config
from fairway.models.names import HARMLESS, stored_names
from fairway.models.sizes import Expected, expected_tensors
from fairway.proof.thresholds import BITS, FLOAT_BITS, KINDS, Thresholds

HEAD = "lm_head.weight"
WEIGHTY_SHARE = 0.1
"""A type counts as the hop's kind if at least this share of the linear weights has it."""


@dataclass(frozen=True)
class Side:
    """One bundle, its config where this engine has the family, and its tensors by family name."""

    bundle: Bundle
    own_head: bool = False
    """Name the token table as the head too where they are one."""

    @cached_property
    def config(self) -> DecoderConfig | None:
        """None for a family that this engine does not run."""
        try:
            return read_config(self.bundle.config, self.bundle.config_name)
        except FairwayError:
            return None

    @cached_property
    def obstacle(self) -> str | None:
        """Why the model cannot be run; None where it can."""
        try:
            read_config(self.bundle.config, self.bundle.config_name)
        except FairwayError as error:
            return error.message
        return None

    @cached_property
    def expected(self) -> dict[str, Expected]:
        """What the config calls for; empty for an unknown family."""
        return {} if self.config is None else expected_tensors(self.config)

    @cached_property
    def stored(self) -> dict[str, str]:
        """Family name -> name in the checkpoint, without buffers and copies that the model never reads."""
        names = stored_names(self.bundle.tensors.infos)
        found = {name: stored for name, stored in names.items() if not HARMLESS.search(name)}
        if self.ties_head:
            found.pop(HEAD, None)
        if self.ties_head and self.own_head and self.table in found:
            found[HEAD] = found[self.table]
        return found

    @property
    def ties_head(self) -> bool:
        """Whether the output projection is the token table again."""
        return self.config is not None and self.config.tied_embeddings

    @property
    def table(self) -> str:
        """The token table's name; empty for an unknown family."""
        return next((name for name, tensor in self.expected.items() if tensor.role == "table"), "")

    def info(self, name: str) -> TensorInfo:
        return self.bundle.tensors.infos[self.stored[name]]

    @cached_property
    def linear_names(self) -> tuple[str, ...]:
        """The weights of linear layers; for an unknown family every matrix that is no table or norm."""
        if self.expected:
            found = (name for name, tensor in self.expected.items() if tensor.role == "linear")
            return tuple(name for name in found if name in self.stored)
        return tuple(name for name in self.stored if self._looks_linear(name))

    def _looks_linear(self, name: str) -> bool:
        is_table = any(word in name for word in ("embed", "wte", "wpe", "norm", "lm_head"))
        return len(self.info(name).shape) == 2 and name.endswith("weight") and not is_table

    def release(self) -> None:
        """Lets go of the pages of mapped files."""
        for source in self.bundle.sources:
            source.release()


def is_quantised(stored_type: str) -> bool:
    return stored_type in BITS


def shares(side: Side) -> dict[str, float]:
    """Stored type -> its share of the linear layers' weights."""
    counts: dict[str, int] = {}
    for name in side.linear_names:
        info = side.info(name)
        counts[info.type] = counts.get(info.type, 0) + info.num_elements
    total = sum(counts.values())
    return {kind: count / total for kind, count in counts.items()}


def hop_kind(source: Side, target: Side) -> str:
    """A key of `KINDS`: the coarsest rounding that a weighty part of the linear layers went through."""
    before, kinds = shares(source), []
    for kind, share in shares(target).items():
        if share >= WEIGHTY_SHARE and not _keeps(before, kind):
            kinds.append(f"{BITS[kind][0]}-bit" if kind in BITS else "16-bit")
    return min(kinds, key=_bits, default="lossless")


def default_thresholds(source: Side, target: Side) -> Thresholds:
    return KINDS[hop_kind(source, target)]


def _keeps(before: Mapping[str, float], kind: str) -> bool:
    """Whether a type can hold everything there was."""
    if kind in FLOAT_BITS:
        return kind == "F32" or all(name == kind for name in before)
    return all(name == kind for name in before) or kind not in BITS


def _bits(kind: str) -> int:
    return int(kind.partition("-")[0])
