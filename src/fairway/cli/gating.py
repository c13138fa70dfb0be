"""Stages into engines, for `fairway gate` and for the commands that publish only above a bar."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairway.cli.screen import Screen, SilentScreen
from fairway.errors import ModelNotFound
from fairway.tune.gate_result import GateResult, Stage
from fairway.tune.gate_settings import GateSettings

if TYPE_CHECKING:
    from fairway.map.settings import PlanSettings
    from fairway.proof.verdict import Check
    from fairway.runtimes.protocol import Runtime
    from fairway.tune.encode import Encoder
    from fairway.tune.gate import Gate, Score

PATH_LIKE = ("/", ".", "~")


@dataclass(frozen=True)
class Gating:
    """One held-out set, and how stages are run on it."""

    data: Path
    settings: GateSettings
    plan: PlanSettings

    def score(self, stages: list[Stage], screen: Screen) -> GateResult:
        """Each stage through the engine; a model is loaded once for neighbours that share it."""
        from fairway.tune.dataset import open_dataset
        from fairway.tune.gate import Gate
        from fairway.tune.run_folder import file_digest

        chosen = self.settings
        data = open_dataset(self.data)
        gate = Gate(data, chosen.metrics(), max_tokens=chosen.max_tokens, max_rows=chosen.rows)
        scores: list[tuple[Stage, Score]] = []
        while len(scores) < len(stages):
            model = stages[len(scores)].model
            rest = stages[len(scores) :]
            same = next((at for at, each in enumerate(rest) if each.model != model), len(rest))
            scores += self._of_model(rest[:same], gate, screen)
        digest = file_digest(self.data)
        return GateResult(self.data.name, digest, chosen.max_tokens, tuple(scores), chosen.bars)

    def check(self, path: Path, name: str) -> Check:
        """What a hop made, before it gets its name, as one of its checks."""
        from fairway.proof.verdict import judged

        result = self.score([Stage(name, str(path))], SilentScreen())
        figures = result.stages[0][1].figures.items()
        figure = ", ".join(f"{each} {value:.4g}" for each, value in figures if value is not None)
        limit = ", ".join(map(str, result.bars))
        return judged("gate", not result.failures, figure, limit, result.failures)

    def _of_model(self, stages: list[Stage], gate: Gate, screen: Screen) -> list[tuple[Stage, Score]]:
        from fairway.cli.prepare import load, plan_model
        from fairway.tune.encode import encoder_for

        takes = any(stage.adapter for stage in stages)
        plan = self.plan if takes else replace(self.plan, max_loras=0)
        planned = plan_model(stages[0].model, plan, screen)
        encoder = encoder_for(planned.bundle, self.settings.data)
        with closing(load(planned, screen)) as runtime:
            return [(stage, _scored(stage, runtime, encoder, gate, screen)) for stage in stages]


def _scored(stage: Stage, runtime: Runtime, encoder: Encoder, gate: Gate, screen: Screen) -> Score:
    from fairway.runtimes.adapted import AdaptedRuntime

    if stage.adapter is not None:
        assert runtime.adapters is not None
        info = runtime.adapters.load(stage.name, Path(stage.adapter))
        runtime = AdaptedRuntime(runtime, info)
    with screen.step(f"Scored {stage.name}") as progress:
        return gate.score(runtime, encoder, progress)


def parse_stage(text: str) -> Stage:
    """[NAME=]MODEL[:ADAPTER]. What follows the last colon is an adapter where it is a path that exists.

    Raises `ModelNotFound` for a path that does not.
    """
    from fairway.cli.prepare import split_name

    name, model = split_name(text)
    assert model is not None
    base, colon, adapter = model.rpartition(":")
    if not colon or Path(model).exists():
        return Stage(name or model, model)
    if Path(adapter).exists():
        return Stage(name or adapter, base, adapter)
    if adapter.startswith(PATH_LIKE) or "/" in adapter:
        raise ModelNotFound(f"There is no adapter at {adapter}.", hint="Write MODEL:ADAPTER.")
    return Stage(name or model, model)
