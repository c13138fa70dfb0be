"""transformers' own `generate` in bf16, with a stamp at every step."""

from __future__ import annotations

import time
from typing import Any

import torch
import transformers
from frame import Prompts, Settings, Times, serve, size_of, times_of_stamps


class Transformers:
    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.bfloat16)
        self.version = transformers.__version__
        self.weight_bytes = size_of(settings.model, "*.safetensors")

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        ids = torch.tensor(prompts)
        stamps: list[float] = []

        def stamp(_: Any, scores: Any) -> Any:  # noqa: ANN401
            stamps.append(time.perf_counter())
            return scores

        start = time.perf_counter()
        self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=num_tokens,
            max_new_tokens=num_tokens,
            do_sample=False,
            pad_token_id=0,
            logits_processor=[stamp],
        )
        return times_of_stamps(start, stamps, len(prompts))


if __name__ == "__main__":
    serve(Transformers)
