"""Each variant changes the answer: with it switched off, the recorded logits are missed by far.

Guards the goldens: a case whose special field had no effect would prove nothing.
"""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import Session, golden

from fairway.kernels.reference import ReferenceBackend
from fairway.models import loader
from fairway.models.config import DecoderConfig


def plain_rope(config: DecoderConfig) -> DecoderConfig:
    assert config.rope is not None
    return replace(config, rope=replace(config.rope, type="default"))


def no_windows(config: DecoderConfig) -> DecoderConfig:
    return replace(config, windows=(None,) * config.num_layers, local_rope=None)


def wider_windows(config: DecoderConfig) -> DecoderConfig:
    return replace(config, windows=tuple(w and w + 1 for w in config.windows))


def one_rope(config: DecoderConfig) -> DecoderConfig:
    return replace(config, local_rope=config.rope)


def full_rotation(config: DecoderConfig) -> DecoderConfig:
    assert config.rope is not None
    return replace(config, rope=replace(config.rope, type="default", rotary=config.head_size))


def usual_scale(config: DecoderConfig) -> DecoderConfig:
    return replace(config, attention_scale=config.head_size**-0.5)


VARIANTS = [
    ("llama-rope-llama3", plain_rope),
    ("llama-rope-linear", plain_rope),
    ("llama-rope-dynamic", plain_rope),
    ("llama-rope-yarn", plain_rope),
    ("qwen2-rope-yarn", plain_rope),
    ("phi3-longrope-short", plain_rope),
    ("phi3-longrope-long", full_rotation),
    ("mistral-window", no_windows),
    ("mistral-window", wider_windows),
    ("qwen2-upper-window", wider_windows),
    ("phi3-window", wider_windows),
    ("gemma2-soft-caps", wider_windows),
    ("gemma2-soft-caps", usual_scale),
    ("gemma2-soft-caps", lambda config: replace(config, attention_softcap=None)),
    ("gemma2-soft-caps", lambda config: replace(config, logits_softcap=None)),
    ("gemma2-no-caps", lambda config: replace(config, embedding_scale=1.0)),
    ("gemma3-text-pattern", one_rope),
    ("gemma3-text-pattern", wider_windows),
    ("gemma3-text-layer-types", one_rope),
    ("granite-multipliers", usual_scale),
    ("granite-multipliers", lambda config: replace(config, residual_scale=1.0)),
    ("granite-multipliers", lambda config: replace(config, logits_scale=1.0)),
    ("granite-multipliers", lambda config: replace(config, embedding_scale=1.0)),
    ("gpt2-untied", usual_scale),
    ("gpt2-tied", lambda config: replace(config, activation="gelu")),
    ("llama-grouped-heads", lambda config: replace(config, norm_eps=1e-2)),
]


@pytest.mark.parametrize(("name", "change"), VARIANTS, ids=lambda value: getattr(value, "__name__", value))
def test_without_it_the_logits_differ(name: str, change, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = golden(name)
    read = loader.read_config
    monkeypatch.setattr(loader, "read_config", lambda *of: change(read(*of)))
    model = loader.load_model(answer.bundle, ReferenceBackend(), context=answer.context)
    error = np.abs(Session(model).feed(answer.tokens) - answer.logits).max() / np.abs(answer.logits).max()
    assert error > 1e-4


def test_longrope_follows_the_served_context() -> None:
    answer = golden("phi3-longrope-short")
    model = loader.load_model(answer.bundle, ReferenceBackend(), context=65)
    error = np.abs(Session(model).feed(answer.tokens) - answer.logits).max() / np.abs(answer.logits).max()
    assert error > 1e-2
