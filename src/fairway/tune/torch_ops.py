"""What each operation of a recorded program means in PyTorch, over tokens of several examples at once.

Tokens of all examples lie one after the other, [tokens, width], without padding. The rule: only `attend`
looks at other tokens, and only at those of the same example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fairway.kernels.program import Activation, Attention
from fairway.tensors import F32

SHORT = 256
"""Tokens up to which a CPU attends faster in float32 than in bfloat16, for which there is new code for every
length (benchmarks/LOG.md)."""


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Over the last axis."""
    return functional.rms_norm(x, (x.shape[-1],), weight, eps)


def activate(x: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "silu":
            return functional.silu(x)
        case "gelu":
            return functional.gelu(x)
        case "gelu_tanh":
            return functional.gelu(x, approximate="tanh")
        case "relu":
            return functional.relu(x)


def angles(positions: Tensor, inv_freq: F32, factor: float) -> tuple[Tensor, Tensor]:
    """cos and sin, float32 [tokens, 1, rotary / 2]; angles are rounded to float32 as the kernels do it."""
    frequencies = torch.tensor(inv_freq, device=positions.device)
    radians = (positions[:, None].float() * frequencies).double()
    return (radians.cos() * factor).float()[:, None], (radians.sin() * factor).float()[:, None]


def rope(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x [tokens, heads, head_size]: rotates pairs (i, i + rotary / 2) of each head, in float32."""
    cos, sin = turn
    half = cos.shape[-1]
    a, b, rest = x.float().split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1).to(x.dtype)


Before = tuple[Tensor, Tensor]
"""Keys and values that every example sees before its own, [virtual tokens, kv heads * head_size]."""


def attend(
    q: Tensor, k: Tensor, v: Tensor, how: Attention, lengths: Sequence[int], before: Before | None = None
) -> Tensor:
    """Causal attention within each example; q, k, v [tokens, heads * head_size], lengths of the examples."""
    if q.device.type == "cpu" and max(lengths) <= SHORT:
        q, k, v = (each.float() for each in (q, k, v))
    q, k, v = (each.unflatten(-1, (-1, how.head_size)) for each in (q, k, v))
    if len(set(lengths)) == 1:
        shape = (len(lengths), lengths[0])
        q, k, v = (each.unflatten(0, shape) for each in (q, k, v))
        return _attend(q, k, v, how, before).flatten(0, 1)
    examples = zip(*(each.split(list(lengths)) for each in (q, k, v)), strict=True)
    return torch.cat([_attend(one[None], k[None], v[None], how, before)[0] for one, k, v in examples])


def _attend(q: Tensor, k: Tensor, v: Tensor, how: Attention, before: Before | None) -> Tensor:
    """[examples, tokens, heads, head_size] each -> [examples, tokens, heads * head_size]"""
    if before is not None:
        k, v = (_behind(prefix, each) for prefix, each in zip(before, (k, v), strict=True))
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    seen = _seen(q.shape[2], k.shape[2], how.window, q.device)
    if how.softcap is None:
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, is_causal=seen is None, scale=how.scale, enable_gqa=True
        )
    else:
        out = _capped(q, k, v, how, seen)
    return out.transpose(1, 2).flatten(2)


def _behind(prefix: Tensor, x: Tensor) -> Tensor:
    """x [examples, tokens, heads, head_size] after the prefix, the same for each example."""
    heads = prefix.to(x.dtype).unflatten(-1, x.shape[2:])
    return torch.cat([heads.expand(len(x), *heads.shape), x], dim=1)


def _seen(num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor | None:
    """Which keys each query sees, bool [queries, keys]; None where plain causal attention says it."""
    window = num_keys if window is None else window
    if num_queries == num_keys <= window:
        return None
    places = torch.arange(num_keys, device=device)
    distance = places[num_keys - num_queries :, None] - places
    return (distance >= 0) & (distance < window)


def _capped(q: Tensor, k: Tensor, v: Tensor, how: Attention, seen: Tensor | None) -> Tensor:
    """cap * tanh(score / cap), which no fused attention offers (Gemma 2)."""
    assert how.softcap is not None
    group = how.num_heads // how.num_kv_heads
    k, v = (each.repeat_interleave(group, dim=1) for each in (k, v))
    scores = soft_cap((q @ k.transpose(-1, -2)).float() * how.scale, how.softcap)
    if seen is None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(~seen, -math.inf).softmax(dim=-1).to(v.dtype) @ v


def soft_cap(x: Tensor, cap: float) -> Tensor:
    return cap * torch.tanh(x / cap)
