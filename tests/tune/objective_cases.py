"""Jobs on tiny models, as `prepare_job` would make them."""

import numpy as np
import torch
from trl_cases import LORA, TRIPLES, lora_weight, tiny

from fairway.tune.batches import Batches
from fairway.tune.encode import Example
from fairway.tune.forward_names import recorded
from fairway.tune.job import Job
from fairway.tune.lora_layers import lora_for
from fairway.tune.objectives.pairs import Pair
from fairway.tune.recipe import Recipe
from fairway.tune.torch_decoder import TorchDecoder
from fairway.tune.torch_weights import load_weights

CPU = torch.device("cpu")


def answered(prompt: list[int], answer: list[int]) -> Example:
    learned = [False] * len(prompt) + [True] * len(answer)
    return Example("", np.array(prompt + answer, np.int32), np.array(learned))


PAIRS = [Pair(answered(each.prompt, each.chosen), answered(each.prompt, each.rejected)) for each in TRIPLES]


def job_of(name: str, recipe: Recipe, items: list, held_out: list | None = None, **more) -> Job:
    """LoRA begins with zeros in B, as PEFT's does."""
    torch.manual_seed(0)
    loaded = load_weights(tiny(name).bundle, torch.float32, CPU)
    lora = lora_for(recorded(loaded.config), LORA)
    for each in lora.tensors.values():
        each.requires_grad_(True)
    decoder = TorchDecoder(loaded.config, loaded.weights, lora)
    more = {key: make(loaded) for key, make in more.items()}
    batches = Batches([len(each) for each in items], recipe, 1000)
    bundle, context = tiny(name).bundle, loaded.config.max_context
    return Job(
        decoder, lora.tensors, lora, recipe, items, held_out or [], batches, CPU, bundle, context, **more
    )


def fill_lora(job: Job) -> None:
    """The values that the goldens were recorded with."""
    for name, each in job.trained.items():
        values = lora_weight(f"base_model.model.{name}", tuple(each.shape))
        with torch.no_grad():
            each.copy_(torch.from_numpy(values))


def base_decoder(loaded) -> TorchDecoder:
    return TorchDecoder(loaded.config, loaded.weights)
