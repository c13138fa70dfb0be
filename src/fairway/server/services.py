"""What every handler is given: the models, the settings, the metrics, and whether we are stopping."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.server.drain import Drain
from fairway.server.metrics import Metrics
from fairway.server.model_table import ModelTable
from fairway.server.settings import ServerSettings
from fairway.server.tuning import Tuning


@dataclass(frozen=True)
class Services:
    """Made once by `create_app`."""

    models: ModelTable
    settings: ServerSettings
    metrics: Metrics
    drain: Drain
    tuning: Tuning
