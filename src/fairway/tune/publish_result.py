"""What training leaves: PEFT's adapter folder, or a safetensors model folder, each with its lineage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from fairway import __version__
from fairway.convert.hops import convert, prepare
from fairway.convert.merge_lora import merged
from fairway.convert.settings import ConvertSettings
from fairway.formats.atomic import atomic_file
from fairway.formats.bundle import Bundle
from fairway.formats.lineage import FILE_NAME, Lineage, Origin, Step, now
from fairway.formats.lora import Adapter
from fairway.formats.lora_peft import write_peft
from fairway.registry.progress import Progress
from fairway.tensors import DenseTensor
from fairway.tune.lora_layers import LoraLayers
from fairway.tune.prefix_tokens import PrefixTokens
from fairway.tune.recipe import Recipe
from fairway.tune.run_folder import ADAPTER, MODEL, Facts


@dataclass(frozen=True)
class Origins:
    """What the result was made from."""

    base: Bundle
    base_name: str
    recipe: Recipe
    facts: Facts


def publish_adapter(
    folder: Path, beside: LoraLayers | PrefixTokens, tensors: Mapping[str, Tensor], origins: Origins
) -> Path:
    """Writes FOLDER/adapter, which PEFT loads and, DoRA apart, this engine serves."""
    path = folder / ADAPTER
    if path.exists():
        shutil.rmtree(path)  # of a run that was killed while it wrote this
    if isinstance(beside, PrefixTokens):
        beside.write(path, origins.base_name, tensors)
    else:
        write_peft(beside.adapter(ADAPTER, origins.base_name, tensors), path)
    with atomic_file(path / FILE_NAME) as file:
        file.write(Lineage(None, _steps(origins)).to_json().encode("utf-8"))
    return path


def publish_model(
    folder: Path,
    tensors: Mapping[str, Tensor],
    stored: Mapping[str, str],
    origins: Origins,
    progress: Progress,
) -> Path:
    """Writes FOLDER/model, in the types of the base. `stored`: name -> name in the base."""
    values = {
        stored[name]: DenseTensor("f32", each.detach().float().cpu().numpy())
        for name, each in tensors.items()
    }
    trained = merged(origins.base, Adapter(MODEL, origins.base_name, {}, values))
    trained = replace(trained, lineage=Lineage(None, _steps(origins)))
    settings = ConvertSettings("safetensors", out=folder / MODEL, force=True)
    return convert(prepare(trained, settings), progress).path


def _steps(origins: Origins) -> tuple[Step, ...]:
    facts, base = origins.facts, origins.base
    sources = [
        Origin(facts.model, base.container, facts.model_digest),
        Origin(facts.data, "data", facts.data_digest),
    ]
    if facts.held_out is not None and facts.held_out_digest is not None:
        sources.append(Origin(facts.held_out, "held-out data", facts.held_out_digest))
    sources += [Origin(name, "used in training", digest) for name, digest in facts.also.items()]
    settings = {**asdict(origins.recipe), "num_rows": facts.num_rows, "num_examples": facts.num_examples}
    step = Step(f"tune ({origins.recipe.method})", tuple(sources), settings, {"fairway": __version__}, now())
    return (base.lineage or Lineage()).then(step)
