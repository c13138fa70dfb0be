"""vLLM's engine on the CPU in this process, stepped directly, prefix cache off."""

from __future__ import annotations

import itertools

import vllm
from frame import Prompts, Settings, Times, Watch, serve, size_of


class Vllm:
    def __init__(self, settings: Settings) -> None:
        self.version = vllm.__version__
        self.weight_bytes = size_of(settings.model, "*.safetensors")
        self.engine = vllm.LLM(
            settings.model,
            dtype="bfloat16",
            max_model_len=settings.length,
            max_num_seqs=settings.sequences,
            enable_prefix_caching=False,
        ).llm_engine
        self.ids = itertools.count()

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        sampling = vllm.SamplingParams(
            temperature=0, max_tokens=num_tokens, ignore_eos=True, detokenize=False
        )
        seen: dict[str, int] = {}
        for key, prompt in zip(self.ids, prompts, strict=False):
            self.engine.add_request(str(key), {"prompt_token_ids": list(prompt)}, sampling)
            seen[str(key)] = 0
        watch = Watch(seen)
        while self.engine.has_unfinished_requests():
            now = {each.request_id: len(each.outputs[0].token_ids) for each in self.engine.step()}
            watch.saw({key: count - seen[key] for key, count in now.items()})
            seen.update(now)
        return watch.times()


if __name__ == "__main__":
    serve(Vllm)
