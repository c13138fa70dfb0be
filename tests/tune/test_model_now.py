"""What the engine samples from is what the trainer computes, for every method, after weights have changed."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fairway.engine.sampling_params import SamplingParams  # noqa: E402
from fairway.formats.open import open_bundle  # noqa: E402
from fairway.registry.resolve import BUILTIN_FOLDER  # noqa: E402
from fairway.text.loader import load_tokenizer  # noqa: E402
from fairway.tune.encode import Example  # noqa: E402
from fairway.tune.model_now import beside_now, changes_weights, weights_now  # noqa: E402
from fairway.tune.packing import join  # noqa: E402
from fairway.tune.prepare_job import prepare_job  # noqa: E402
from fairway.tune.recipe import Recipe  # noqa: E402
from fairway.tune.rollouts import RolloutEngine, Sizes  # noqa: E402
from fairway.tune.torch_decoder import tokens_of  # noqa: E402

PROMPTS = [[5, 77, 300, 12, 9], [40, 41, 42]]
METHODS = {
    "lora": {"method": "lora"},
    "full": {"method": "full"},
    "dora": {"method": "lora", "use_dora": True},
    "qlora": {"method": "qlora"},
    "qlora int4": {"method": "qlora", "bnb_4bit_quant_type": "int4"},
    "qdora": {"method": "qlora", "use_dora": True},
    "prefix": {"method": "prefix", "num_virtual_tokens": 6},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def changed_job(bundle, **settings):
    """As after some updates: everything that is trained has moved."""
    example = Example("", np.arange(3, 12, dtype=np.int32), np.arange(9) > 3)
    job, _ = prepare_job(bundle, Recipe(**settings), ([example], []), lambda *_: None)
    change(job, 0.02)
    return job


def change(job, strength: float) -> None:
    with torch.no_grad():
        torch.manual_seed(3)
        for each in job.trained.values():
            each.add_(strength * torch.randn_like(each) * each.abs().mean().clamp_min(0.5))


def trainer_logits(job, ids):
    example = Example("", np.array(ids, np.int32), np.ones(len(ids), bool))
    job.train(False)
    with torch.no_grad():
        return job.decoder.logits(job.decoder.hidden(tokens_of(join([example]), job.device))).numpy()


def worst_choice(job, engine, tokenizer) -> float:
    """By how much the trainer finds another token likelier than one that the engine chose, at most."""
    how = SamplingParams(temperature=0.0, max_tokens=12)
    answers = engine.sample(beside_now(job), PROMPTS, [0, 1], how)
    worst = 0.0
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        logits = trainer_logits(job, prompt + answer)[:, : tokenizer.vocab_size]
        rows = logits[len(prompt) - 1 : -1]
        worst = max(worst, float((rows.max(axis=1) - rows[np.arange(len(answer)), answer]).max()))
    return worst


@pytest.mark.parametrize("name", METHODS)
def test_the_engine_answers_with_the_model_that_is_trained(name: str) -> None:
    bundle = open_bundle(BUILTIN_FOLDER)
    tokenizer = load_tokenizer(bundle.tokenizer)
    job = changed_job(bundle, **METHODS[name])
    beside = beside_now(job)
    engine = RolloutEngine(
        Sizes(40, 2, 16 if name in ("lora", "qlora", "qlora int4") else 0), tokenizer, frozenset()
    )
    engine.load(weights_now(job))
    close = 0.05 if METHODS[name]["method"] == "qlora" else 1e-3  # of 16 bits beside the trainer's 32
    assert worst_choice(job, engine, tokenizer) < close
    assert (beside is None) == changes_weights(job)
    if changes_weights(job):
        change(job, 0.2)
        assert worst_choice(job, engine, tokenizer) > 0.1
        engine.load(weights_now(job))
        assert worst_choice(job, engine, tokenizer) < close
