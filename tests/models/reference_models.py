"""Tiny transformers models: what ours are compared with. Needs torch and transformers."""

import json

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING


def build(config: dict) -> PreTrainedModel:
    settings = CONFIG_MAPPING[config["model_type"]].from_dict(json.loads(json.dumps(config)))
    model = AutoModelForCausalLM.from_config(settings, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


def shapes_of(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """As `save_pretrained` would write them: a tied head is not stored."""
    state = model.state_dict()
    if model.config.get_text_config().tie_word_embeddings:
        state.pop("lm_head.weight")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def fill(model: PreTrainedModel, weights: dict[str, np.ndarray]) -> None:
    state = {name: torch.from_numpy(values) for name, values in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"}, missing
    assert not unexpected, unexpected
    model.tie_weights()


def logits_of(model: PreTrainedModel, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].numpy()
