"""From a model and its data to a job: examples, weights, what of them is trained.

The rule: whatever is wrong with a row is said before a weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS
from fairway.registry.progress import Progress
from fairway.tune.batches import Batches
from fairway.tune.dataset import Dataset
from fairway.tune.encode import Encoder, Example, fitted
from fairway.tune.forward_names import recorded
from fairway.tune.initial_weights import STD, begin_anew
from fairway.tune.job import Job
from fairway.tune.lora_layers import lora_for
from fairway.tune.objective_settings import Objective
from fairway.tune.objectives.table import kind_of
from fairway.tune.recipe import Recipe
from fairway.tune.rows import RowError
from fairway.tune.teacher import load_teacher
from fairway.tune.torch_decoder import TorchDecoder
from fairway.tune.torch_weights import load_weights

CHUNK = 256
"""Rows that are tokenised at once, on all cores."""


def load_examples(
    data: Dataset, encoder: Encoder, progress: Progress, objective: Objective | None = None
) -> list[Any]:
    """What the objective learns from each row. Raises the first `RowError`, which names its line."""
    kind = kind_of(objective)
    examples: list[Any] = []
    for start in range(0, len(data), CHUNK):
        numbers = range(start, min(start + CHUNK, len(data)))
        rows = [data.row(index) for index in numbers]
        for index, row, found in zip(numbers, rows, encoder.encode(rows), strict=True):
            try:
                if isinstance(found, RowError):
                    raise found
                fitting = fitted(row, found, encoder.settings)
                if kind.needs_labels:
                    _check_learnable(fitting)
                examples += kind.items(row, fitting, partial(data.record, index))
            except RowError as error:
                raise data.placed(index, error) from None
        progress(numbers[-1] + 1, len(data), "")
    if not examples:
        raise RowError("empty", f"{data.path.name} holds no example that fits.", hint="Raise --max-length.")
    return kind.whole(examples)


def _check_learnable(examples: Sequence[Example]) -> None:
    for each in examples:
        if not each.learned[1:].any():
            raise RowError(
                "nothing-learned", "no token is learned.", hint="See fairway tune MODEL --check DATA."
            )


def prepare_job(
    bundle: Bundle,
    recipe: Recipe,
    data: tuple[Sequence[Any], Sequence[Any]],
    progress: Progress,
    teacher: Bundle | None = None,
) -> tuple[Job, Mapping[str, str]]:
    """The job, and each tensor's name in the checkpoint. `data`: examples to learn, and held-out ones."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute = torch.bfloat16 if recipe.bf16 else torch.float32
    is_lora = recipe.method == "lora"
    if not is_lora:
        _refuse_rounded(bundle)
    loaded = load_weights(bundle, compute if is_lora else torch.float32, device, progress)
    if recipe.init == "random":
        std = float(bundle.config.get("initializer_range") or STD)
        begin_anew(loaded.weights, recorded(loaded.config), std, recipe.seed)
    lora, trained = None, dict(loaded.weights)
    if is_lora:
        torch.manual_seed(recipe.seed)
        lora = lora_for(recorded(loaded.config), recipe.lora)
        lora.tensors = {name: each.to(device) for name, each in lora.tensors.items()}
        trained = lora.tensors
    for each in trained.values():
        each.requires_grad_(True)
    decoder = TorchDecoder(
        loaded.config, loaded.weights, lora, compute=compute, recompute_layers=recipe.gradient_checkpointing
    )
    examples, held_out = data
    base = TorchDecoder(loaded.config, loaded.weights, compute=compute) if lora is not None else None
    batched = kind_of(recipe.objective).batched(recipe)
    context = loaded.config.max_context
    batches = Batches([len(each) for each in examples], batched, recipe.max_length or context)
    job = Job(decoder, trained, lora, recipe, examples, held_out, batches, device, bundle, context, base)
    if teacher is not None:
        job = replace(job, teacher=load_teacher(teacher, compute, device, progress))
    return job, loaded.stored


def _refuse_rounded(bundle: Bundle) -> None:
    types = {info.type for info in bundle.tensors.infos.values()} - set(FLOATS)
    if types or "quantization_config" in bundle.config or bundle.container == "gguf":
        raise UnsupportedError(
            f"{bundle.path} is {'quantised' if types else bundle.container}; all weights are trained in a "
            "safetensors model of 16 or 32 bits.",
            hint="Name the original model, or train an adapter: --method lora.",
        )


def num_trained(job: Job) -> int:
    """Parameters that change."""
    return sum(each.numel() for each in job.trained.values())
