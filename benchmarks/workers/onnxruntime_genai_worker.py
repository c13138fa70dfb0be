"""ONNX Runtime GenAI on the CPU: one generator per batch, whose prompts are of one length."""

from __future__ import annotations

import json
import time

import numpy as np
import onnxruntime_genai as genai
from frame import Prompts, Settings, Times, serve, size_of, times_of_stamps


class OnnxRuntime:
    def __init__(self, settings: Settings) -> None:
        config = genai.Config(settings.model)
        threads = {"intra_op_num_threads": settings.threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": threads}}}))
        self.model = genai.Model(config)
        self.version = genai.__version__
        self.weight_bytes = size_of(settings.model, "*.onnx.data")

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        length = len(prompts[0]) + num_tokens
        params = genai.GeneratorParams(self.model)
        params.set_search_options(
            batch_size=len(prompts), max_length=length, min_length=length, do_sample=False
        )
        generator = genai.Generator(self.model, params)
        start = time.perf_counter()
        generator.append_tokens(np.array(prompts, np.int32))
        stamps = []
        for _ in range(num_tokens):
            generator.generate_next_token()
            stamps.append(time.perf_counter())
        return times_of_stamps(start, stamps, len(prompts))


if __name__ == "__main__":
    serve(OnnxRuntime)
