"""The gate at the end of `fairway tune`: the result is scored as it will be served, then it gets its name.

The rule: what is below the bar leaves nothing under the result's name; the last checkpoint stays, so that
`--resume --accept REASON` publishes it without training again.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairway.cli.gate import tell, write
from fairway.cli.gating import Gating
from fairway.cli.options import engine_settings
from fairway.cli.screen import Screen
from fairway.cli.tune_wanted import Wanted
from fairway.tune.gate_result import FILE_NAME, GateResult, Stage

if TYPE_CHECKING:
    from fairway.tune.gate_settings import GateSettings

CANDIDATE = ".candidate"


def publish_gated(
    folder: Path, publish: Callable[[Path], Path], wanted: Wanted, settings: GateSettings, screen: Screen
) -> Path:
    """Scores base and result, writes FOLDER/gate.json, and gives the result its name.

    Raises `ProofFailed` below the bar, unless that is accepted.
    """
    place = folder / CANDIDATE
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        candidate = publish(place)
        result = _scored(candidate, wanted, settings, screen)
        write(result, folder / FILE_NAME)
        if not wanted.as_json:
            tell(result, as_json=False)
        if wanted.accept is None:
            again = "fairway tune ... --resume --accept REASON publishes it all the same."
            result.check(f"Nothing was published; {again}")
        record(candidate, result, wanted.accept)
        target = folder / candidate.name
        shutil.rmtree(target, ignore_errors=True)  # of a run that was killed while it wrote this
        candidate.rename(target)
        return target
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _scored(candidate: Path, wanted: Wanted, settings: GateSettings, screen: Screen) -> GateResult:
    from fairway.formats.lora_peft import CONFIG

    assert wanted.validation is not None
    is_adapter = (candidate / CONFIG).is_file()
    made = Stage("adapter", wanted.model, str(candidate)) if is_adapter else Stage("model", str(candidate))
    plan = replace(engine_settings({}), max_lora_rank=4096)
    return Gating(wanted.validation, settings, plan).score([Stage("base", wanted.model), made], screen)


def record(folder: Path, result: GateResult, accept: str | None) -> None:
    """The figures become the proof of the last step in the folder's lineage."""
    from fairway.formats import lineage

    known = lineage.read_lineage(folder)
    if known is None:
        return
    figures = {stage.name: score.figures for stage, score in result.stages}
    proof = {"passed": not result.failures, "required": [str(bar) for bar in result.bars], "gate": figures}
    by = f"{getpass.getuser()}: {accept}" if result.failures else None
    last = replace(known.steps[-1], proof={**known.steps[-1].proof, **proof}, accepted_by=by)
    whole = replace(known, steps=(*known.steps[:-1], last))
    (folder / lineage.FILE_NAME).write_text(whole.to_json() + "\n", "utf-8")
