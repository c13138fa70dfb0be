"""From a model and its data to a job: examples, weights, what of them is trained.

The rule: whatever is wrong with a row is said before a weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from fairway.tune.lora_layers import lora_for
from fairway.tune.recipe import Recipe
from fairway.tune.rows import RowError
from fairway.tune.torch_decoder import TorchDecoder
from fairway.tune.torch_weights import load_weights
from fairway.tune.trainer import Job

CHUNK = 256
"""Rows that are tokenised at once, on all cores."""
OBJECTIVES = ("text", "chat")


def load_examples(data: Dataset, encoder: Encoder, progress: Progress) -> list[Example]:
    """Every example of a file. Raises the first `RowError`, which names its line."""
    if data.shape.objective not in OBJECTIVES:
        raise UnsupportedError(
            f"{data.path.name} holds {data.shape.name}, and this version learns texts and answers only.",
            hint="Use rows with one answer each.",
        )
    examples: list[Example] = []
    for start in range(0, len(data), CHUNK):
        numbers = range(start, min(start + CHUNK, len(data)))
        rows = [data.row(index) for index in numbers]
        for index, row, found in zip(numbers, rows, encoder.encode(rows), strict=True):
            try:
                if isinstance(found, RowError):
                    raise found
                examples += _learnable(fitted(row, found, encoder.settings))
            except RowError as error:
                raise data.placed(index, error) from None
        progress(numbers[-1] + 1, len(data), "")
    if not examples:
        raise RowError("empty", f"{data.path.name} holds no example that fits.", hint="Raise --max-length.")
    return examples


def _learnable(examples: Sequence[Example]) -> Sequence[Example]:
    for each in examples:
        if not each.learned[1:].any():
            raise RowError(
                "nothing-learned", "no token is learned.", hint="See fairway tune MODEL --check DATA."
            )
    return examples


def prepare_job(
    bundle: Bundle, recipe: Recipe, data: tuple[Sequence[Example], Sequence[Example]], progress: Progress
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
    lengths = [len(each) for each in examples]
    batches = Batches(lengths, recipe, recipe.max_length or loaded.config.max_context)
    return Job(decoder, trained, lora, recipe, examples, held_out, batches, device), loaded.stored


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
