"""Small models whose mixes are compared with llama.cpp's: names and shapes of tensors, no weights."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.quantize.mixes import Facts

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class MixModel:
    facts: Facts
    hidden: int = 256
    feed_forward: int = 512
    head_size: int = 32
    has_joined_attention: bool = False

    @property
    def tensors(self) -> Shapes:
        """Shapes, outermost size first."""
        found: Shapes = {"token_embd.weight": (288, self.hidden), "output_norm.weight": (self.hidden,)}
        if not self.facts.is_tied:
            found["output.weight"] = (288, self.hidden)
        for layer in range(self.facts.num_layers):
            found |= {f"blk.{layer}.{stem}.weight": shape for stem, shape in self._layer.items()}
        return found

    @property
    def _layer(self) -> Shapes:
        hidden, inner, facts = self.hidden, self.feed_forward, self.facts
        queries, keys = facts.num_heads * self.head_size, facts.num_kv_heads * self.head_size
        found: Shapes = {"attn_norm": (hidden,), "ffn_norm": (hidden,), "attn_output": (hidden, queries)}
        if self.has_joined_attention:
            found |= {"attn_qkv": (queries + 2 * keys, hidden), "ffn_up": (2 * inner, hidden)}
            return found | {"ffn_down": (hidden, inner)}
        found |= {"attn_q": (queries, hidden), "attn_k": (keys, hidden), "attn_v": (keys, hidden)}
        if facts.num_experts:
            experts = facts.num_experts
            found |= {"ffn_gate_inp": (experts, hidden), "ffn_down_exps": (experts, hidden, inner)}
            return found | {f"ffn_{name}_exps": (experts, inner, hidden) for name in ("gate", "up")}
        return found | {"ffn_gate": (inner, hidden), "ffn_up": (inner, hidden), "ffn_down": (hidden, inner)}


MODELS = {
    "llama, 5 layers": MixModel(Facts("llama", 5, 8, 8, True)),
    "llama, 32 layers, shared by four": MixModel(Facts("llama", 32, 8, 2, False)),
    "llama, 80 layers": MixModel(Facts("llama", 80, 16, 2, False), hidden=512),
    "llama, 80 layers, own values": MixModel(Facts("llama", 80, 8, 8, False)),
    "llama, rows of 96": MixModel(Facts("llama", 9, 3, 3, True), hidden=96, feed_forward=160),
    "llama, rows of 172": MixModel(Facts("llama", 4, 2, 1, True), hidden=64, feed_forward=172),
    "qwen2, as 0.5b": MixModel(Facts("qwen2", 24, 14, 2, True), hidden=896, feed_forward=1024, head_size=64),
    "qwen2, 80 layers": MixModel(Facts("qwen2", 80, 8, 8, False)),
    "qwen3, 28 layers": MixModel(Facts("qwen3", 28, 8, 4, True)),
    "phi3, 12 layers": MixModel(Facts("phi3", 12, 8, 8, False), has_joined_attention=True),
    "llama, 8 experts": MixModel(Facts("llama", 8, 8, 2, False, num_experts=8)),
    "llama, 4 experts": MixModel(Facts("llama", 8, 8, 2, False, num_experts=4)),
}
