"""What a user chooses about the gate. Light to import: flags are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairway.tune.metrics import Bar, Metric, check_bars, metrics_named, parse_bars, with_required
from fairway.tune.settings import DataSettings

METRIC, MAX_TOKENS = "exact_match", 256


@dataclass(frozen=True)
class GateSettings:
    """The default of every field is what most people want."""

    metric: tuple[str, ...] = (METRIC,)
    """Names of `metrics.METRICS`, or file.py:function."""
    require: str | None = None
    """ "exact_match>=0.8,stops>=0.95" """
    max_tokens: int = MAX_TOKENS
    """The longest answer; a longer one did not stop."""
    rows: int | None = None
    """So many of the first rows; None: all."""
    data: DataSettings = field(default_factory=DataSettings)

    @property
    def bars(self) -> tuple[Bar, ...]:
        return parse_bars(self.require or "")

    def metrics(self) -> dict[str, Metric]:
        """Raises `SettingsError` for one that is not there, and for a bar on what is not measured."""
        found = metrics_named(with_required(self.metric, self.bars))
        check_bars(self.bars, found)
        return found
