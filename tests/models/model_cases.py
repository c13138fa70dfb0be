"""Tiny configs, one per variant that a family must get right, spelled as config.json spells them.

Used twice: `make_model_goldens.py` runs them through transformers, `test_family_goldens.py` through us.
Sizes are awkward on purpose: a feed-forward width that is no multiple of 32, windows and original
contexts shorter than the text.
"""

LLAMA = {
    "model_type": "llama",
    "vocab_size": 72,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
GEMMA = {
    **LLAMA,
    "head_dim": 12,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "query_pre_attn_scalar": 10,
    "sliding_window": 8,
    "pad_token_id": 0,
}
PHI3 = {
    **LLAMA,
    "model_type": "phi3",
    "num_key_value_heads": 4,
    "hidden_size": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LONGROPE = {
    **PHI3,
    "partial_rotary_factor": 0.75,
    "tie_word_embeddings": True,
    "num_key_value_heads": 2,
    "rope_scaling": {
        "type": "longrope",
        "short_factor": [1.0, 1.05, 1.1, 1.2, 1.4, 1.5],
        "long_factor": [1.0, 1.5, 2.5, 4.0, 6.0, 9.0],
    },
}
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 72,
    "n_embd": 32,
    "n_head": 4,
    "n_layer": 2,
    "n_positions": 64,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}

CASES: dict[str, dict] = {
    "llama-grouped-heads": LLAMA,
    "llama-tied-biases": {
        **LLAMA,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
        "attention_bias": True,
        "mlp_bias": True,
    },
    "llama-wide-heads-one-kv": {**LLAMA, "head_dim": 16, "num_key_value_heads": 1, "rope_theta": 500000.0},
    "llama-rope-llama3": {
        **LLAMA,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    },
    "llama-rope-linear": {**LLAMA, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama-rope-dynamic": {
        **LLAMA,
        "max_position_embeddings": 20,
        "rope_scaling": {"type": "dynamic", "factor": 4.0},
    },
    "llama-rope-yarn": {
        **LLAMA,
        "head_dim": 32,
        "max_position_embeddings": 64,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    },
    "mistral-window": {**LLAMA, "model_type": "mistral", "sliding_window": 7},
    "mistral-no-window": {**LLAMA, "model_type": "mistral", "sliding_window": None, "head_dim": 12},
    "qwen2-tied": {**LLAMA, "model_type": "qwen2", "tie_word_embeddings": True, "rope_theta": 1e6},
    "qwen2-upper-window": {
        **LLAMA,
        "model_type": "qwen2",
        "num_hidden_layers": 3,
        "use_sliding_window": True,
        "sliding_window": 9,
        "max_window_layers": 1,
    },
    "qwen2-rope-yarn": {
        **LLAMA,
        "model_type": "qwen2",
        "max_position_embeddings": 64,
        "rope_scaling": {
            "type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 16,
            "beta_fast": 8.0,
            "beta_slow": 0.5,
        },
    },
    "qwen3-untied": {**LLAMA, "model_type": "qwen3", "head_dim": 16},
    "qwen3-tied-bias": {
        **LLAMA,
        "model_type": "qwen3",
        "head_dim": 8,
        "num_key_value_heads": 4,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
    "gemma2-soft-caps": {
        **GEMMA,
        "model_type": "gemma2",
        "num_hidden_layers": 3,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 0.7,
    },
    "gemma2-no-caps": {
        **GEMMA,
        "model_type": "gemma2",
        "num_hidden_layers": 3,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
    "gemma3-text-pattern": {
        **GEMMA,
        "model_type": "gemma3_text",
        "num_hidden_layers": 4,
        "sliding_window_pattern": 3,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "gemma3-text-layer-types": {
        **{key: value for key, value in GEMMA.items() if key != "rope_theta"},
        "model_type": "gemma3_text",
        "num_hidden_layers": 3,
        "final_logit_softcapping": 1.5,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
        },
    },
    "gemma3-multimodal": {
        "model_type": "gemma3",
        "text_config": {**GEMMA, "model_type": "gemma3_text", "sliding_window_pattern": 2},
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 8,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 8,
            "patch_size": 4,
        },
        "mm_tokens_per_image": 1,
        "boi_token_index": 69,
        "eoi_token_index": 70,
        "image_token_index": 71,
    },
    "phi3-window": {**PHI3, "sliding_window": 10, "original_max_position_embeddings": 128},
    "phi3-longrope-short": {
        **LONGROPE,
        "max_position_embeddings": 256,
        "original_max_position_embeddings": 64,
    },
    "phi3-longrope-long": {
        **LONGROPE,
        "max_position_embeddings": 128,
        "original_max_position_embeddings": 16,
    },
    "granite-multipliers": {
        **LLAMA,
        "model_type": "granite",
        "attention_bias": True,
        "embedding_multiplier": 6.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.4,
        "logits_scaling": 2.5,
    },
    "olmo2-grouped-heads": {**LLAMA, "model_type": "olmo2", "rms_norm_eps": 1e-6, "pad_token_id": 0},
    "olmo2-bias": {
        **LLAMA,
        "model_type": "olmo2",
        "num_key_value_heads": 4,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    },
    "gpt2-tied": GPT2,
    "gpt2-untied": {
        **GPT2,
        "n_inner": 44,
        "activation_function": "gelu",
        "scale_attn_weights": False,
        "tie_word_embeddings": False,
    },
}

CONTEXTS = {"llama-rope-dynamic": 48, "phi3-longrope-short": 64}
"""Context to serve, where it decides the rope; everywhere else all of the model's."""

WITHOUT_GREEDY = {"llama-rope-dynamic"}
"""transformers changes the frequencies as the text grows, so its own cached keys go stale."""

PROMPT = [3, 17, 42, 5, 5, 61, 29, 8, 33, 50, 12, 4, 66, 21, 9, 38, 2, 57, 14, 40, 25, 1, 63, 30]
NUM_TOKENS = 48
