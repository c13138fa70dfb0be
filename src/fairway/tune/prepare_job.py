"""From a model and its data to a job: examples, weights, what of them is trained.

The rule: whatever is wrong with a row is said before a weight is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS
from fairway.models.config import DecoderConfig
from fairway.registry.progress import Progress
from fairway.runtimes.heap import keep_large_arrays, map_large_arrays
from fairway.tune.batches import Batches
from fairway.tune.dataset import Dataset
from fairway.tune.encode import Encoder, Example, fitted
from fairway.tune.forward_names import recorded
from fairway.tune.forward_parts import layer_matrices
from fairway.tune.frozen_base import FourBits, turned_in
from fairway.tune.initial_weights import STD, Initial, begin_anew
from fairway.tune.job import Job
from fairway.tune.lora_layers import LoraLayers, lora_for, row_lengths
from fairway.tune.objective_settings import Objective
from fairway.tune.objectives.table import kind_of
from fairway.tune.prefix_tokens import PrefixTokens, prefix_for
from fairway.tune.recipe import Recipe
from fairway.tune.rows import RowError
from fairway.tune.schedule import check_schedule
from fairway.tune.teacher import load_teacher
from fairway.tune.torch_decoder import TorchDecoder
from fairway.tune.torch_weights import Loaded, load_weights
from fairway.tune.windows import WindowBatches, Windows, cut

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
    loaded = _weights(bundle, recipe, device, progress)
    if recipe.begins_anew:
        std = float(bundle.config.get("initializer_range") or STD)
        initial = Initial(std, recipe.seed, by_fan_in=recipe.init == "random_fan_in")
        begin_anew(dict(_tensors(loaded)), recorded(loaded.config), initial)
    examples, held_out = data
    context = loaded.config.max_context
    windows, batches = _batches(examples, recipe, recipe.max_length or context)
    held_out = held_out if windows is None else cut(held_out, windows.longest)
    lora = _lora(loaded, recipe, device) if recipe.method in ("lora", "qlora") else None
    longest = max(map(len, (*examples, *held_out))) if windows is None else windows.longest
    prefix = _prefix(loaded.config, recipe, longest) if recipe.method == "prefix" else None
    if prefix is not None:
        prefix.to(device)
    beside = lora or prefix
    trained = dict(_tensors(loaded)) if beside is None else beside.tensors
    for each in trained.values():
        each.requires_grad_(True)
    decoder = TorchDecoder(
        loaded.config,
        loaded.weights,
        lora,
        prefix,
        compute=compute,
        recompute_layers=recipe.recomputes_layers,
    )
    adds = lora is not None or prefix is not None
    base = TorchDecoder(loaded.config, loaded.weights, compute=compute) if adds else None
    job = Job(
        decoder,
        trained,
        lora,
        recipe,
        examples,
        held_out,
        batches,
        device,
        bundle,
        context,
        base,
        prefix=prefix,
        windows=windows,
        matrices=_matrices(loaded.config) if recipe.optim == "muon" else frozenset(),
        weights=loaded.weights,
        stored=loaded.stored,
    )
    if base is None and recipe.objective == "grpo" and recipe.strength:
        job = replace(job, base=load_teacher(bundle, compute, device, progress))
    if teacher is not None:
        job = replace(job, teacher=load_teacher(teacher, compute, device, progress))
    return job, loaded.stored


def _batches(
    examples: Sequence[Any], recipe: Recipe, capacity: int
) -> tuple[Windows | None, Batches | WindowBatches]:
    """`capacity`: tokens of a pack, or of the longest window."""
    windows: Windows | None = None
    batches: Batches | WindowBatches
    if recipe.is_wrapped:
        windows = Windows(examples, [*recipe.stage_lengths, capacity])
        batches = WindowBatches(windows, recipe)
    else:
        batched = kind_of(recipe.objective).batched(recipe)
        batches = Batches([len(each) for each in examples], batched, capacity)
    check_schedule(recipe, batches.num_steps)
    return windows, batches


def _matrices(config: DecoderConfig) -> frozenset[str]:
    """What Muon moves."""
    return frozenset(name for name, _ in layer_matrices(recorded(config)))


def _weights(bundle: Bundle, recipe: Recipe, device: torch.device, progress: Progress) -> Loaded:
    if recipe.method != "qlora":
        keep_large_arrays()
    if recipe.method == "full":
        _refuse_rounded(bundle)
        return load_weights(bundle, torch.float32, device, progress)
    if recipe.method != "qlora":
        return load_weights(bundle, torch.bfloat16 if recipe.bf16 else torch.float32, device, progress)
    map_large_arrays()
    settings = (recipe.bnb_4bit_quant_type, recipe.bnb_4bit_use_double_quant)
    return load_weights(bundle, FourBits(*settings, device, turned_in(bundle)), device, progress)


def _lora(loaded: Loaded, recipe: Recipe, device: torch.device) -> LoraLayers:
    torch.manual_seed(recipe.seed)
    program = recorded(loaded.config)
    lora = lora_for(program, recipe.lora, row_lengths(program, loaded.weights) if recipe.use_dora else None)
    lora.to(device)
    return lora


def _prefix(config: DecoderConfig, recipe: Recipe, longest: int) -> PrefixTokens:
    """`longest`: tokens of an example."""
    room = config.max_context - recipe.num_virtual_tokens
    if longest > room:
        raise SettingsError(
            f"An example has {longest:,} tokens, and {recipe.num_virtual_tokens} virtual ones before it are "
            f"more than the model's context, {config.max_context:,}.",
            hint=f"Say --max-length {room}." if room >= 8 else "Lower --num-virtual-tokens.",
            param="num_virtual_tokens",
        )
    torch.manual_seed(recipe.seed)
    return prefix_for(recorded(config), recipe.num_virtual_tokens)


def _tensors(loaded: Loaded) -> Iterator[tuple[str, Tensor]]:
    return ((name, each) for name, each in loaded.weights.items() if isinstance(each, Tensor))


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
