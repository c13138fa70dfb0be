"""How fast a model will read and write: a roofline of each step, with what stands between it and the limits.

    time of a step = (reading ^ p + products ^ p) ^ (1 / p) + attention + step, sequences, choosing tokens

Pure arithmetic over a recorded program, a device's limits and an engine's shares of them
(`engines.toml`). The rule: nothing is fitted to a model, only to an engine; every answer has an error band.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fairway.kernels.program import CacheType, cache_bytes
from fairway.map.engines import Engine
from fairway.map.roofline import PassWork, Work
from fairway.models.config import DecoderConfig

HALF_COLUMNS = 520
"""Columns at which a sum's beginning and end cost as much as its products (plan_accuracy)."""
FAR_BYTES = 64 << 20
"""A step that reads this much reads it from memory, whatever a cache still holds of it."""
STEP_TOKENS = 512
"""That engines read at most in one step."""


@dataclass(frozen=True)
class Silicon:
    """What a device, or several as one, does per second at most."""

    memory_bytes_per_s: float
    int8_ops_per_s: float
    bf16_ops_per_s: float
    f32_ops_per_s: float
    fp8_ops_per_s: float = 0.0
    threads: int = 1
    near: tuple[tuple[int, float], ...] = ()
    """(bytes, bytes per second) of reading so much again and again: caches are faster than memory."""

    def reading_rate(self, num_bytes: int) -> float:
        """Of what a step of that size reads, between the sizes that were measured."""
        near = sorted(point for point in self.near if point[0] < FAR_BYTES)
        points = [*near, (FAR_BYTES, self.memory_bytes_per_s)]
        if not near or num_bytes >= points[-1][0]:
            return self.memory_bytes_per_s
        if num_bytes <= points[0][0]:
            return points[0][1]
        right = next(i for i, (size, _) in enumerate(points) if size >= num_bytes)
        (low, slow), (high, fast) = points[right - 1], points[right]
        share = math.log(num_bytes / low) / math.log(high / low)
        return float(slow * (fast / slow) ** share)


@dataclass(frozen=True)
class Attention:
    """What one token's attention does at one position of its past, over all layers."""

    ops: float
    kv_bytes: float
    kv_heads: int
    windows: tuple[int | None, ...]
    is_int8: bool = False

    @classmethod
    def of(cls, config: DecoderConfig, kv_type: CacheType) -> Attention:
        return cls(
            ops=4.0 * config.num_heads * config.head_size,
            kv_bytes=float(config.num_kv_heads * cache_bytes(config.head_size, kv_type)),
            kv_heads=config.num_kv_heads,
            windows=config.windows,
            is_int8=kv_type == "int8",
        )

    def seen(self, positions: float) -> float:
        """Positions that are read over all layers, where some see a window only."""
        return sum(min(positions, window) if window else positions for window in self.windows)


@dataclass(frozen=True)
class Load:
    """What is asked of a server: prompts and answers in tokens, and people at once."""

    prompt: int = 512
    answer: int = 128
    users: int = 1


@dataclass(frozen=True)
class Speed:
    """A prediction, in seconds and tokens per second; the truth lies within `error` (a share) either way."""

    first_token_s: float
    """Of one request alone."""
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    """Over all users while all of them write."""
    output_tokens_per_s: float
    """Over all users and the whole time, reading prompts included."""
    error: float
    basis: str

    @property
    def per_user(self) -> float:
        return self.decode_tokens_per_s / self.users

    users: int = 1

    def answer_s(self, load: Load) -> float:
        """From the question to the end of the answer."""
        return self.first_token_s + (load.answer - 1) / self.per_user

    def to_dict(self) -> dict[str, Any]:
        numbers = {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return numbers | {"tokens_per_s_per_user": round(self.per_user, 2)}


@dataclass(frozen=True)
class Estimator:
    """One model on one device with one engine."""

    work: PassWork
    attention: Attention
    vocab_size: int
    silicon: Silicon
    engine: Engine

    def predict(self, load: Load) -> Speed:
        prefill_s = self.prefill_s(load.prompt, 1)
        step_s = self.decode_step_s(load.users, load.prompt + load.answer / 2)
        whole_s = self.prefill_s(load.prompt, load.users) + load.answer * step_s
        return Speed(
            first_token_s=prefill_s,
            prefill_tokens_per_s=load.prompt * load.users / self.prefill_s(load.prompt, load.users),
            decode_tokens_per_s=load.users / step_s,
            output_tokens_per_s=load.users * load.answer / whole_s,
            error=self.engine.error,
            basis=self.engine.basis,
            users=load.users,
        )

    def prefill_s(self, prompt: int, sequences: int) -> float:
        """Until every prompt has its first token. Prompts are read in steps of `STEP_TOKENS`."""
        tokens = prompt * sequences
        steps = -(-tokens // STEP_TOKENS)
        per_step = self.matrices_s(self.work.step(tokens // steps, max(1, sequences // steps)))
        past = self.attention.seen(prompt / 2)
        engine = self.engine
        share = engine.int8_attention_share if self.attention.is_int8 else engine.attention_share
        attention_s = tokens * past * self.attention.ops / self._float_rate(share or engine.attention_share)
        return steps * (per_step + self.engine.step_s) + attention_s + self._choosing_s(sequences)

    def decode_step_s(self, sequences: int, position: float) -> float:
        """Every sequence writes one token."""
        attention, engine = self.attention, self.engine
        past = sequences * attention.seen(position)
        kv_bytes = past * attention.kv_bytes
        work = self.work.step(sequences, sequences)
        whole = int(work.weight_bytes + kv_bytes)
        share = engine.cache_share or engine.memory_share
        reading_s = kv_bytes / (self.silicon.reading_rate(whole) * share)
        seen_s = engine.int8_position_s if attention.is_int8 else engine.position_s
        computing_s = past * attention.kv_heads * seen_s / self.silicon.threads
        return (
            self.matrices_s(work, whole)
            + max(reading_s, computing_s)
            + engine.step_s
            + self._choosing_s(sequences)
        )

    def matrices_s(self, work: Work, step_bytes: int = 0) -> float:
        """Reading weights and multiplying overlap, but not wholly. `step_bytes`: all that the step reads."""
        engine, silicon = self.engine, self.silicon
        reading = work.weight_bytes / self._weight_rate(max(step_bytes, work.weight_bytes))
        whole = work.int8_ops + 2 * HALF_COLUMNS * work.int8_results
        integers = whole / (silicon.int8_ops_per_s * engine.products_share)
        floats = work.float_ops / self._float_rate(engine.float_share)
        both: float = (reading**engine.overlap + integers**engine.overlap) ** (1 / engine.overlap)
        return both + floats if engine.float_ops == "f32" else max(both, floats)

    def _weight_rate(self, num_bytes: int) -> float:
        rate = self.silicon.reading_rate(num_bytes) * self.engine.memory_share
        if num_bytes < FAR_BYTES:
            return rate
        return min(rate, self.silicon.threads * self.engine.thread_bytes_per_s)

    def _float_rate(self, share: float) -> float:
        f32 = self.engine.float_ops == "f32"
        return share * (self.silicon.f32_ops_per_s if f32 else self.silicon.bf16_ops_per_s)

    def _choosing_s(self, sequences: int) -> float:
        return sequences * (self.engine.sequence_s + self.engine.logit_s * self.vocab_size)
