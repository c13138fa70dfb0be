"""OpenVINO GenAI's continuous batching pipeline on the CPU, stepped directly, prefix cache off."""

from __future__ import annotations

import itertools
import os

import numpy as np
import openvino
import openvino_genai as genai
from frame import Prompts, Settings, Times, Watch, serve, size_of

BLOCK = 32


class OpenVino:
    def __init__(self, settings: Settings) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = -(-settings.cache_tokens // BLOCK)
        scheduler.max_num_seqs = settings.sequences
        scheduler.max_num_batched_tokens = max(512, settings.sequences)
        scheduler.enable_prefix_caching = False
        options = {"INFERENCE_NUM_THREADS": settings.threads, "CACHE_DIR": settings.kept}
        self.pipe = genai.ContinuousBatchingPipeline(settings.model, scheduler, "CPU", options)
        self.version = genai.__version__
        self.weight_bytes = size_of(settings.model, "openvino_model.bin")
        self.ids = itertools.count()

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        config = genai.GenerationConfig(max_new_tokens=num_tokens, ignore_eos=True, do_sample=False)
        tensors = [openvino.Tensor(np.array([prompt], np.int64)) for prompt in prompts]
        handles = {key: self.pipe.add_request(key, tensor, config)
                   for key, tensor in zip(self.ids, tensors, strict=False)}  # fmt: skip
        watch = Watch(handles)
        while self.pipe.has_non_finished_requests():
            self.pipe.step()
            watch.saw({key: new_tokens(handle) for key, handle in handles.items()})
        return watch.times()


def new_tokens(handle: genai.GenerationHandle) -> int:
    if not handle.can_read():
        return 0
    return sum(len(output.generated_ids) for output in handle.read().values())


if __name__ == "__main__":
    os.environ.setdefault("OPENVINO_LOG_LEVEL", "0")
    serve(OpenVino)
