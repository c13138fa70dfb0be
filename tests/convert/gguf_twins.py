"""Which families GGUF can say, and how: what the tests of both directions compare."""

from tiny_models import Session

from fairway.formats.open import open_bundle
from fairway.kernels.reference import ReferenceBackend
from fairway.models.loader import load_model

OWN = {"vocab_size": 402, "bos_token_id": 400, "eos_token_id": 401, "pad_token_id": None}
REFUSED = {
    "llama-rope-dynamic": "dynamic",
    "qwen3-tied-bias": "no biases",
    "olmo2-bias": "no biases",
    "gpt2-untied": "scales attention|activation",
    "gemma2-no-caps": "scales attention",
    "gemma2-soft-caps": "scales attention",
    "gemma3-text-pattern": "scales attention",
    "gemma3-multimodal": "scales attention",
    "gemma3-text-layer-types": "scales attention",
}
LIMITED = {"mistral-window": 7, "qwen2-upper-window": 9}
PROMPT = [3, 17, 42, 5, 105, 61]


def logits(path, context=None, prompt=PROMPT):
    model = load_model(open_bundle(path, complete=False), ReferenceBackend(), context=context)
    return Session(model).feed(prompt)


def as_llama_cpp_has_it(config):
    config = dict(config)
    if "query_pre_attn_scalar" in config:
        config["query_pre_attn_scalar"] = config["head_dim"]
    return config | OWN
