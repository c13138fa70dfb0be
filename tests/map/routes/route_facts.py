"""Models, machines and limits that tests of routes share."""

from dataclasses import replace

from fairway.kernels.machine_limits import MachineLimits
from fairway.map.catalogue import load_catalogue
from fairway.map.known_limits import KnownLimits
from fairway.map.probe import Machine
from fairway.map.routes.candidates import Finder
from fairway.map.routes.choose import find_routes
from fairway.map.routes.devices import devices_for
from fairway.map.routes.question import Question
from fairway.map.settings import PlanSettings
from fairway.models.families import read_config
from fairway.models.random import QWEN2_5_0_5B, random_bundle

GB = 10**9
CATALOGUE = load_catalogue()
FEATURES = frozenset({"avx2", "avx512f", "avx512_vnni"})
MACHINE = Machine("Linux", "x86_64", "a processor", FEATURES, 2, 25 * GB, 22 * GB, 90 * GB)
LIMITS = KnownLimits(
    MachineLimits(2, 54e9, 2.17e12, 0.54e12, 1.0e12),
    ((8 << 20, 210e9), (32 << 20, 181e9), (64 << 20, 151e9), (128 << 20, 84e9)),
    "2026-11-20T20:00:00Z",
)
LLAMA_8B = dict(QWEN2_5_0_5B) | {
    "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "tie_word_embeddings": False, "max_position_embeddings": 131_072,
}  # fmt: skip


def bundle_of(shape=QWEN2_5_0_5B, stored="bf16", container="huggingface"):
    return replace(random_bundle(shape, stored), container=container)


def finder(goal=None, shape=QWEN2_5_0_5B, *, users=None, budget=None, bundle=None, **settings):
    bundle = bundle or bundle_of(shape)
    question = Question.asked(goal, users, budget, PlanSettings(**settings))
    return Finder(bundle, read_config(bundle.config, bundle.config_name), question, CATALOGUE)


def devices(*names, machine=MACHINE, price=None, gpus=(), known=LIMITS):
    return devices_for(names, machine, gpus, known, CATALOGUE, price)


def answer(goal=None, on="this", shape=QWEN2_5_0_5B, *, machine=MACHINE, price=None, **asked):
    return find_routes(finder(goal, shape, **asked), devices(on, machine=machine, price=price))
